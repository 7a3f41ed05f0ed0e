"""The checks, one in each file: `def check() -> Finding | list[Finding]`. New files are found."""
