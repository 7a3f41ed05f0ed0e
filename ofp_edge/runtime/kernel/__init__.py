"""What the kernel is asked for: priorities, wake-ups, a quiet interpreter."""
