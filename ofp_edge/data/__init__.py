"""Demonstrations: the replay-buffer format, reading it with validation, and training windows."""
