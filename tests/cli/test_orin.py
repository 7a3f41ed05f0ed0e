"""Commands on an Orin with a stand-in GPU: compile BUNDLE, profile; engines come first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ofp_edge.cli import compile as compile_command
from ofp_edge.cli import profile as profile_command
from ofp_edge.errors import ParityError
from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.runners.tensorrt import engine as engines
from tests.runtime.tensorrt.orin import become_orin, write_orin_bundle
from tests.runtime.tensorrt.standin import Gpu

KEYS = {"function", "precision", "file", "built", "reason", "seconds", "parity"}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gpu:
    return become_orin(monkeypatch, tmp_path / "root")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_orin_bundle(tmp_path / "b")


def run(command: Any, *arguments: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.add(app)
    name = "compile" if command is compile_command else "profile"
    return CliRunner().invoke(app, [name, *arguments, "--json"], env={"COLUMNS": "200"})


def build(bundle: Path, *more: str) -> Any:
    return run(compile_command, str(bundle), "--target", "jetson-orin", *more)


def error(result: Any) -> str:
    assert result.exit_code == 1, result.output
    return str(json.loads(result.stdout)["error"])


def test_compile_of_a_bundle_builds_its_engines_and_then_finds_them(gpu: Gpu, bundle: Path) -> None:
    first = json.loads(build(bundle).stdout)
    assert first["default"] == {"engine": "tensorrt", "precision": "int8"}
    assert [set(x) for x in first["engines"]] == [KEYS, KEYS]
    assert [x["built"] for x in first["engines"]] == [True, True]
    again = json.loads(build(bundle).stdout)
    assert [x["built"] for x in again["engines"]] == [False, False] and gpu.builds == 2
    other = json.loads(build(bundle, "--precision", "fp32").stdout)
    assert [x["precision"] for x in other["engines"]] == ["fp32", "fp32"]


def test_fallback_is_asked_for_and_said(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Path
) -> None:
    real = engines.check_artefact

    def only_fp32(artefact: Any, *rest: Any) -> dict[str, float]:
        if artefact.precision == "int8":
            raise ParityError("act: chunk[2] is far off")
        return real(artefact, *rest)

    monkeypatch.setattr(engines, "check_artefact", only_fp32)
    assert error(build(bundle)) == "act: chunk[2] is far off (--fallback builds fp32 in its place)"
    result = build(bundle, "--fallback")
    assert json.loads(result.stdout)["default"] == {"engine": "tensorrt", "precision": "fp32"}
    assert "give --precision fp32" in result.stderr


def test_options_that_do_not_fit_are_one_line(gpu: Gpu, bundle: Path, tmp_path: Path) -> None:
    assert "-o is for a policy" in error(build(bundle, "-o", str(tmp_path / "x")))
    assert "is a bundle for jetson-orin, not host" in error(
        run(compile_command, str(bundle), "--target", "host")
    )
    policy = tmp_path / "policy"
    assert "give -o" in error(run(compile_command, str(policy), "--target", "host"))
    assert "for a bundle's engines" in error(
        run(compile_command, str(policy), "--target", "host", "--fallback")
    )


def profile(bundle: Path, report: Path) -> Any:
    return run(profile_command, str(bundle), "--duration", "0.2", "-o", str(report))


def test_profile_builds_first_and_reports_power_mode_and_clocks(
    gpu: Gpu, bundle: Path, tmp_path: Path
) -> None:
    result = profile(bundle, tmp_path / "r.html")
    assert result.exit_code == 0 and gpu.builds == 2
    values = json.loads(result.stdout)
    jetson = values["fingerprint"]["jetson"]
    assert values["void"] is None and values["proposed_latency_ms"] > 0
    assert jetson["power_mode"] == "MAXN_SUPER" and jetson["gpu_hz"]["max"] == 1020 * 10**6
    html = (tmp_path / "r.html").read_text()
    assert "MAXN_SUPER" in html and "orin-nano-super" in html
    assert "power mode MAXN_SUPER, GPU 1020-1020 MHz" in result.stderr


def test_throttling_voids_the_verdict(gpu: Gpu, bundle: Path, tmp_path: Path) -> None:
    root = machines.this_machine().root
    (root / "sys/class/thermal/cooling_device1/cur_state").write_text("2")
    result = profile(bundle, tmp_path / "r.html")
    values = json.loads(result.stdout)
    assert result.exit_code == 1 and values["proposed_latency_ms"] is None
    assert values["void"].startswith("throttled by cpufreq-cpu0")
    assert values["notes"][0].startswith("Void: throttled")
    assert "void" in (tmp_path / "r.html").read_text()


def test_an_unlocked_clock_is_a_note(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Path, tmp_path: Path
) -> None:
    root = machines.this_machine().root
    (root / "sys/class/devfreq/17000000.gpu/min_freq").write_text("306000000")
    values = json.loads(profile(bundle, tmp_path / "r.html").stdout)
    assert any("sudo jetson_clocks" in note for note in values["notes"])
