"""Webhooks out: what is sent, where it may go, when it is tried again."""
