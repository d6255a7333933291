"""Deliberate bugs of the product, as patches, each of which a storm must catch."""
