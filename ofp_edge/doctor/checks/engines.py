"""The check that the installed inference engines really load."""

from __future__ import annotations

from ofp_edge.doctor.findings import Finding
from ofp_edge.doctor.probe import installed, probe
from ofp_edge.origin import install_line, reinstall_line
from ofp_edge.runtime.runners import MODULES

# Engine -> a program that loads it and prints what it found.
PROGRAMS = {
    "onnxruntime": """
import onnxruntime as ort
print(ort.__version__, "with", ", ".join(ort.get_available_providers()))
assert "CPUExecutionProvider" in ort.get_available_providers(), "no CPU provider"
""",
    "executorch": """
import ofp_edge_executorch
print(ofp_edge_executorch.EXECUTORCH_VERSION, "with XNNPACK, without torch")
""",
}


def check() -> list[Finding]:
    """One finding an engine."""
    return [judge(engine, program) for engine, program in PROGRAMS.items()]


def judge(engine: str, program: str) -> Finding:
    """Load one engine in a process of its own."""
    name = f"engine {engine}"
    if not installed(MODULES.get(engine, engine)):
        return Finding(name, "absent", "not installed", install_line(engine))
    answer = probe(program)
    if answer.ok:
        return Finding(name, "ok", answer.text)
    again = reinstall_line(MODULES.get(engine, engine))
    return Finding(name, "fail", f"does not load: {answer.text}", again)
