"""Exits 0 when this interpreter can make the project's .venv: 3.11 to 3.13, with venv and pip.

Runs on any Python 3, so nothing newer than 3.6 may stand here.
"""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("Python {}.{} is not 3.11, 3.12 or 3.13".format(*sys.version_info[:2]))
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit("python3-venv is missing")
