"""The check that the installed inference engines really load."""

from __future__ import annotations

from ofp_edge.doctor.findings import Finding
from ofp_edge.doctor.probe import installed, probe
from ofp_edge.origin import install_line, reinstall_line
from ofp_edge.runtime.runners.table import ENGINES


def check() -> list[Finding]:
    """Return one finding for each engine; those built on a device have a check of their own."""
    return [judge(e.name, e.module, e.probe) for e in ENGINES.values() if not e.on_device]


def judge(engine: str, module: str, program: str) -> Finding:
    """Load one engine in a process of its own, by a program that prints what it found."""
    name = f"engine {engine}"
    if not installed(module):
        return Finding(name, "absent", "not installed", install_line(engine))
    answer = probe(program)
    if answer.ok:
        return Finding(name, "ok", answer.text)
    again = reinstall_line(module)
    return Finding(name, "fail", f"does not load: {answer.text}", again)
