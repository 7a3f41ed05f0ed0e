"""The kernel's part of a run: priorities, wake-ups, a quiet interpreter."""
