"""A reader of the requirements in ofp-edge's own metadata: just enough of PEP 508 for
pyproject.toml.

`packaging` would do it, but a robot does not need to install it.
"""

from __future__ import annotations

import ast
import operator
import platform
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SPECIFIER: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Requirement:
    """A distribution's name and the versions of it that fit, e.g. ("torch", "==2.13.0")."""

    name: str
    specifier: str

    def fits(self, version: str) -> bool:
        """Say whether an installed version satisfies the specifier (local parts like +cpu are
        ignored)."""
        have = _numbers(version)
        for part in filter(None, self.specifier.split(",")):
            found = re.fullmatch(r"\s*(==|!=|<=|>=|<|>)\s*([\w.]+)\s*", part)
            if found is None or not _SPECIFIER[found[1]](*_padded(have, _numbers(found[2]))):
                return False
        return True


def requirements_by_extra(
    lines: Iterable[str], environment: dict[str, str] | None = None
) -> dict[str, list[Requirement]]:
    """Turn metadata lines ("Requires-Dist") into extra -> what it needs here; "" is the base.

    `environment` has `python_version` and `platform_machine`, this machine's by default.
    """
    here = environment or {
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "platform_machine": platform.machine(),
    }
    found: dict[str, list[Requirement]] = {}
    for line in lines:
        text, _, marker = line.partition(";")
        match = re.match(r"\s*([\w.-]+)\s*(.*)", text)
        if match is None:
            continue
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        name = extra[1] if extra else ""
        needs = found.setdefault(name, [])
        if not marker.strip() or _holds(marker, {**here, "extra": name}):
            needs.append(Requirement(match[1], match[2].strip().strip("()")))
    return found


def _holds(marker: str, environment: dict[str, str]) -> bool:
    return bool(_value(ast.parse(marker.strip(), mode="eval").body, environment))


def _value(node: ast.expr, environment: dict[str, str]) -> Any:
    if isinstance(node, ast.BoolOp):
        combine = all if isinstance(node.op, ast.And) else any
        return combine(_value(item, environment) for item in node.values)
    if isinstance(node, ast.Compare):
        left, right = node.left, node.comparators[0]
        values = _value(left, environment), _value(right, environment)
        if isinstance(left, ast.Name) and left.id == "python_version":
            values = _padded(_numbers(values[0]), _numbers(values[1]))
        return _COMPARE[type(node.ops[0])](*values)
    if isinstance(node, ast.Name):
        return environment[node.id]
    return ast.literal_eval(node)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(x) for x in re.findall(r"\d+", version.partition("+")[0]))


def _padded(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    size = max(len(a), len(b))
    return a + (0,) * (size - len(a)), b + (0,) * (size - len(b))
