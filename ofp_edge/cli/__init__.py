"""The `ofp-edge` command line: one thin file a command, heavy imports inside the functions."""
