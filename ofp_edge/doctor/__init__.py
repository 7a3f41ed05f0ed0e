"""Is this machine fit: what is installed, what loads, what is wrong and the command that mends it."""
