"""Mochi-1 in a child process, and its video as an MP4."""
