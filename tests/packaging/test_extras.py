"""Every extra that an error message names exists and brings the module it is named for."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION = {  # modules that are not named as their package
    "cv2": "opencv-python-headless",
    "scservo_sdk": "feetech-servo-sdk",
    "serial": "pyserial",
}


def extras() -> dict[str, str]:
    """Extra -> the text of its requirements, read without a TOML parser of 3.11."""
    import tomlkit

    document = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()
    return {
        name: "\n".join(lines)
        for name, lines in document["project"]["optional-dependencies"].items()
    }


def required() -> list[tuple[str, str, str]]:
    """(file, module, extra) of every `require("module", "extra")` in the package."""
    found = []
    for path in sorted((ROOT / "ofp_edge").rglob("*.py")) + [
        p for name in ("quantize", "targets", "calibration") for p in (ROOT / name).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and len(node.args) == 2:
                values = [getattr(argument, "value", None) for argument in node.args]
                own = isinstance(node.func, ast.Name) and node.func.id == "require"
                if own and all(isinstance(value, str) for value in values):
                    found.append((str(path.relative_to(ROOT)), str(values[0]), str(values[1])))
    return found


def test_require_is_used_and_every_extra_it_names_brings_the_module() -> None:
    have = extras()
    assert required()
    for file, module, extra in required():
        assert extra in have, f"{file}: no extra {extra!r}"
        top = module.split(".")[0]
        name = DISTRIBUTION.get(top, top.replace("_", "-"))
        assert re.search(rf"(?m)^\S*{name}\b", have[extra]), f"{file}: {extra} lacks {top}"


def test_the_base_and_the_robot_s_extras_never_bring_torch() -> None:
    import tomlkit

    base = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()["project"]["dependencies"]
    robot = (extras()[name] for name in ("onnxruntime", "executorch", "realsense"))
    for text in ("\n".join(base), *robot):
        assert not re.search(
            r"(?m)^(torch|executorch)\b", text
        )  # official ExecuTorch imports torch


def test_what_python_310_can_not_have_is_what_its_errors_say() -> None:
    from packaging.requirements import Requirement

    from ofp_edge.errors import NOT_FOR_310

    lacking = set()
    for name, text in extras().items():
        if name == "docs":  # builds the documents' site; no module of ours imports it
            continue
        found = [Requirement(x) for x in text.splitlines()]
        had = {
            x.name for x in found if not x.marker or x.marker.evaluate({"python_version": "3.10"})
        }
        newer = {
            x.name for x in found if not x.marker or x.marker.evaluate({"python_version": "3.11"})
        }
        lacking |= newer - had
    assert lacking == set(NOT_FOR_310)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_realsense_brings_exactly_one_of_the_two_packages(python: str, machine: str) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    environment = {"python_version": python, "platform_machine": machine}
    names = [
        requirement.name
        for line in extras()["realsense"].splitlines()
        if (requirement := packaging.Requirement(line)).marker.evaluate(environment)
    ]
    official = machine == "x86_64" or python in ("3.10", "3.12")
    assert names == ["pyrealsense2" if official else "dreamscale-pyrealsense2"]


def test_onnxruntime_has_one_pin_a_python() -> None:
    packaging = pytest.importorskip("packaging.requirements")
    for python, pin in (("3.10", "==1.23.2"), ("3.11", "==1.31.1"), ("3.13", "==1.31.1")):
        pins = [
            str(requirement.specifier)
            for line in extras()["onnxruntime"].splitlines()
            if (requirement := packaging.Requirement(line)).marker.evaluate(
                {"python_version": python}
            )
        ]
        assert pins == [pin]


def test_this_environment_has_no_cuda_wheel() -> None:
    from importlib import metadata

    names = [str(d.metadata["Name"]).lower() for d in metadata.distributions()]
    if ".venv" not in Path(sys.prefix).name:
        pytest.skip("not the project's own .venv")
    assert [name for name in names if name.startswith("nvidia-")] == []
