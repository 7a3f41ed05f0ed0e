"""One file a check: `def check() -> Finding | list[Finding]`. New files are found."""
