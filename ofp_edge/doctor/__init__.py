"""The checks of whether this machine is fit: what is installed, what loads, what is wrong, what
mends it."""
