"""The extras that are installed, compared with the versions that were tested together."""

from __future__ import annotations

from importlib import metadata

from ofp_edge.doctor.findings import Finding
from ofp_edge.doctor.requirements import Requirement, requirements_by_extra
from ofp_edge.origin import install_line

_NOT_FOR_USERS = ("dev",)


def check() -> list[Finding]:
    """Return one finding for the base requirements and one for each extra."""
    try:
        lines = metadata.requires("ofp-edge") or []
    except metadata.PackageNotFoundError:
        return [Finding("extras", "warn", "ofp-edge itself is not installed", install_line())]
    return [
        judge(name, needs)
        for name, needs in requirements_by_extra(lines).items()
        if name not in _NOT_FOR_USERS
    ]


def judge(extra: str, needs: list[Requirement]) -> Finding:
    """Look up the installed version of everything that an extra needs on this machine."""
    name = f"extra {extra}" if extra else "base"
    remedy = install_line(extra)
    if not needs:
        return Finding(name, "absent", "nothing to be had for this Python on this machine")
    have: list[str] = []
    missing: list[str] = []
    wrong: list[str] = []
    for need in needs:
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            missing.append(need.name)
            continue
        have.append(f"{need.name} {version}")
        if not need.fits(version):
            wrong.append(f"{need.name} {version}, expected {need.specifier}")
    if missing:
        detail = f"missing: {', '.join(missing)}"
        return Finding(name, "absent" if extra else "fail", detail, remedy)
    if wrong:
        return Finding(name, "warn", "; ".join(wrong), remedy)
    return Finding(name, "ok", ", ".join(have))
