"""Is this machine fit: what is installed, what loads, what is wrong, what mends it."""
