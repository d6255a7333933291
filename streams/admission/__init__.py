"""Admission: requests in, facts for a pool's scheduler out. See streams/README.md."""
