"""One file a check: `def check() -> Finding | list[Finding]`. A new file here is found by itself."""
