"""The inference engines that are installed really load."""

from __future__ import annotations

from ofp_edge.doctor.findings import Finding
from ofp_edge.doctor.probe import installed, probe

# Engine -> a program that loads it and prints what it found.
PROGRAMS = {
    "onnxruntime": """
import onnxruntime as ort
print(ort.__version__, "with", ", ".join(ort.get_available_providers()))
assert "CPUExecutionProvider" in ort.get_available_providers(), "no CPU provider"
""",
    "executorch": """
from importlib.metadata import version
from executorch.runtime import Runtime
names = Runtime.get().backend_registry.registered_backend_names
assert "XnnpackBackend" in names, "no XNNPACK backend"
print(version("executorch"), "with", ", ".join(names))
""",
}


def check() -> list[Finding]:
    """One finding an engine."""
    return [judge(engine, program) for engine, program in PROGRAMS.items()]


def judge(engine: str, program: str) -> Finding:
    """Load one engine in a process of its own."""
    name, remedy = f"engine {engine}", f"pip install 'ofp-edge[{engine}]'"
    if not installed(engine):
        return Finding(name, "absent", "not installed", remedy)
    answer = probe(program)
    if answer.ok:
        return Finding(name, "ok", answer.text)
    again = f"pip install --force-reinstall 'ofp-edge[{engine}]'"
    return Finding(name, "fail", f"does not load: {answer.text}", again)
