"""The code that made a cell: a hash over the parsed sources that the cell depends on.

Comments, docstrings and layout do not count: a change of those must not discard a cell of hours.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import ofp_edge
from ofp_edge.files import sha256_bytes

_ROOT = Path(ofp_edge.__file__).parent
_PARTS = {  # "" is the core: the files at the top
    "dataset": ("", "runtime", "data", "sim"),
    "training": ("", "data", "policy", "train"),
    "timing": ("", "data", "policy", "train"),
    "episodes": ("", "runtime", "policy", "sim", "evaluate"),
    "modes": ("", "runtime", "policy", "sim", "evaluate"),
    "tuning": ("", "runtime", "policy", "sim", "evaluate"),
}
KINDS = tuple(_PARTS)


def code_of(kind: str) -> str:
    """Return the hex SHA-256 (16 digits) of the code behind cells of this kind, as it is on disk
    now."""
    return sha256_bytes("".join(_folder(part) for part in _PARTS[kind]).encode())[:16]


@cache
def _folder(part: str) -> str:
    folder = _ROOT / part
    files = sorted(folder.rglob("*.py") if part else folder.glob("*.py"))
    return "".join(f"{file.name} {_meaning(file)}\n" for file in files)


def _meaning(file: Path) -> str:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                body[0].value.value = ""
    return sha256_bytes(ast.dump(tree).encode())
