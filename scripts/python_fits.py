"""python_fits.py [OLDEST]: exits 0 when this interpreter is OLDEST to 3.13, with venv and pip.

OLDEST is 3.11 by default, which the project's .venv needs. Runs on any Python 3, so nothing newer
than 3.6 may stand here.
"""

import sys

OLDEST = tuple(int(x) for x in (sys.argv[1] if len(sys.argv) > 1 else "3.11").split("."))

if not OLDEST <= sys.version_info[:2] <= (3, 13):
    sys.exit("Python {}.{} is not {}.{} to 3.13".format(*(sys.version_info[:2] + OLDEST)))
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit("python3-venv is missing")
