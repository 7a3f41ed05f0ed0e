"""Demonstrations on disk: the Zarr replay buffer, read and written."""
