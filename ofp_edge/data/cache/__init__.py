"""What the network sees of a large dataset, made once and mapped from a disk instead of held."""
