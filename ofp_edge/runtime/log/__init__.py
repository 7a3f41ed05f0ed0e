"""The log of a run: how it is written, and how it is read again."""
