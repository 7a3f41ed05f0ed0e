"""gate.json: whether a plan has passed its checks; it lies beside the plan.

A plan is good only where this file says so for that very plan. `compile` refuses one that failed.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ofp_edge.errors import PolicyError
from ofp_edge.files import write_json
from ofp_edge.quantize.plan import FILE as PLAN_FILE
from ofp_edge.quantize.plan import own_sha256
from ofp_edge.strict import read_as, read_json_file, shown

FILE = "gate.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Check:
    """A check's result. passed: None when it was not run, and `says` why. figures: the measurement
    and the limit, plain JSON; a number that is not finite becomes None."""

    name: str
    passed: bool | None
    says: str
    figures: dict[str, Any]

    def __post_init__(self) -> None:
        """Turn figures that are not finite into None: JSON has no NaN."""
        plain = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in self.figures.items()
        }
        object.__setattr__(self, "figures", plain)


@dataclass(frozen=True)
class Gate:
    """The checks of one plan, by its hash."""

    plan_sha256: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Return whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """Return the checks that failed."""
        return tuple(check for check in self.checks if check.passed is False)

    def summary(self) -> dict[str, Any]:
        """Return, for a bundle's provenance, {"passed", "not_run", "says"}, the last by check."""
        missing = [check.name for check in self.checks if check.passed is None]
        return {
            "passed": self.passed,
            "not_run": missing,
            "says": {check.name: check.says for check in self.checks},
        }


def write_gate(gate: Gate, folder: Path) -> None:
    """Write gate.json."""
    value = {"schema_version": SCHEMA_VERSION, "passed": gate.passed, **asdict(gate)}
    write_json(folder / FILE, value)


def read_gate(folder: Path) -> Gate | None:
    """Read the gate of a policy folder, None when it was never run. Raises PolicyError when the
    file is malformed or belongs to another plan."""
    path = folder / FILE
    if not path.exists():
        return None
    value = read_json_file(path, PolicyError, inside=folder)
    version = value.get("schema_version") if isinstance(value, dict) else None
    try:
        if version != SCHEMA_VERSION:
            raise PolicyError(f"{path} is malformed: schema version {shown(version)}.")
        gate = read_as(Gate, value, f"{path} is malformed", PolicyError, others=True)
    except PolicyError as cause:
        raise PolicyError(f"{cause} Run quantize --gate again.") from None
    if gate.plan_sha256 != own_sha256(folder, PLAN_FILE):
        raise PolicyError(f"{path} is of another {PLAN_FILE}. Run quantize --gate again.")
    return gate
