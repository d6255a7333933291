"""Statements on the edge's tables, by what they are about."""
