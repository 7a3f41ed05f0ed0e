"""Doctor's checks: found by themselves, tell broken from absent, and name what mends it."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ofp_edge.cli import doctor as command
from ofp_edge.doctor import findings
from ofp_edge.doctor.checks import cpu, disk, engines, extras, gl, memory, python, realsense
from ofp_edge.doctor.findings import Finding, check_names, run_checks
from ofp_edge.doctor.probe import Probe, installed, probe
from ofp_edge.doctor.requirements import Requirement, requirements_by_extra
from ofp_edge.origin import install_line


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.add(app)
    return CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "80"})


def test_every_file_in_checks_is_a_check_and_reports_findings() -> None:
    files = {path.stem for path in Path(findings.checks.__file__ or "").parent.glob("[a-z]*.py")}
    assert set(check_names()) == files
    found = list(run_checks())
    names = [finding.name for finding in found]
    assert len(set(names)) == len(names)
    for wanted in ("python", "memory", "disk", "gl", "engine onnxruntime", "cpu governor"):
        assert wanted in names
    for finding in found:
        assert finding.detail and "\n" not in finding.detail + finding.remedy
        assert finding.status != "fail" or finding.remedy


def pretend(monkeypatch: pytest.MonkeyPatch, *found: Finding) -> None:
    monkeypatch.setattr(findings, "run_checks", lambda: iter(found))


def test_only_a_fail_exits_1_and_json_holds_every_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = [Finding("a", "ok", "d"), Finding("b", "warn", "d", "r"), Finding("c", "absent", "d")]
    pretend(monkeypatch, *fine)
    result = run("--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "checks": [f.to_json() for f in fine], "ok": True, "certificate": None,
    }  # fmt: skip
    pretend(monkeypatch, *fine, Finding("d", "fail", "broken", "mend it"))
    result = run("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False


def test_the_table_fits_80_columns_and_remedies_are_never_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remedy = "pip install " + "'ofp-edge[realsense]' " * 6
    pretend(monkeypatch, Finding("camera", "warn", "a detail with [brackets] " * 9, remedy))
    lines = run().stdout.splitlines()
    assert f"camera: {remedy.strip()}" in [line.strip() for line in lines]
    assert all(len(line.rstrip()) <= 80 for line in lines if "pip install" not in line)
    assert any("[brackets]" in line for line in lines)


def test_a_probe_tells_answer_error_crash_and_silence_apart() -> None:
    assert probe("print('noise'); print('answer')") == Probe(True, "answer")
    assert probe("raise ValueError('why')") == Probe(False, "ValueError: why")
    assert probe("import os; os.abort()") == Probe(False, "killed by signal 6")
    assert probe("import time; time.sleep(60)", timeout_s=0.3) == Probe(
        False, "no answer within 0.3 s"
    )
    assert probe("import os; print(os.environ['X_Y'])", X_Y="1").text == "1"


def test_looking_whether_a_module_is_installed_does_not_import_it() -> None:
    assert installed("antigravity") and not installed("no_such_module_here")
    assert "antigravity" not in sys.modules


def test_an_engine_that_is_there_but_does_not_load_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    found = engines.judge("json", "json", "raise ImportError('libgomp.so.1: cannot open')")
    assert found.status == "fail" and "libgomp.so.1" in found.detail
    assert "pip install --force-reinstall --no-deps json" in found.remedy
    assert engines.judge("no_such_engine", "no_such_engine", "").status == "absent"
    assert engines.judge("json", "json", "print('1.0')") == Finding("engine json", "ok", "1.0")


def test_gl_takes_the_first_back_end_that_draws_and_else_casts_rays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gl, "installed", lambda module: True)
    monkeypatch.setattr(gl, "draws", lambda name: Probe(name == "osmesa", "no display"))
    assert gl.check().status == "ok" and "osmesa" in gl.check().detail
    monkeypatch.setattr(gl, "draws", lambda name: Probe(False, f"no {name}"))
    found = gl.check()
    assert found.status == "warn" and "ray casting" in found.detail and "no egl" in found.detail
    assert found.remedy.startswith("sudo apt-get install")


def test_a_realsense_sdk_without_libusb_names_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(realsense, "installed", lambda module: True)
    broken = Probe(False, "ImportError: libusb-1.0.so.0: cannot open shared object file")
    monkeypatch.setattr(realsense, "probe", lambda code: broken)
    (found,) = realsense.check(tmp_path)
    assert found.status == "fail" and found.remedy.endswith("libusb-1.0-0")


def test_realsense_reports_cameras_and_the_udev_rule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(realsense, "installed", lambda module: True)
    monkeypatch.setattr(realsense, "probe", lambda code: Probe(True, "2.59.1|D435 839112060000"))
    assert [f.status for f in realsense.check(tmp_path)] == ["ok", "warn", "ok"]
    rules = tmp_path / "etc/udev/rules.d"
    rules.mkdir(parents=True)
    (rules / "99-realsense-libusb.rules").touch()
    found = realsense.check(tmp_path)
    assert [f.status for f in found] == ["ok", "ok", "ok"]
    assert found[2].detail == "D435 839112060000"


def test_a_governor_that_saves_power_is_a_warning(tmp_path: Path) -> None:
    assert cpu.governor(tmp_path).status == "ok"
    for core, name in enumerate(("performance", "schedutil")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(name + "\n")
    found = cpu.governor(tmp_path)
    assert found.status == "warn" and "schedutil" in found.detail and "tee" in found.remedy
    (folder / "scaling_governor").write_text("performance\n")
    assert cpu.governor(tmp_path) == Finding("cpu governor", "ok", "performance")


@pytest.mark.parametrize(("available_kb", "status"), [(512 * 1024, "warn"), (4 << 20, "ok")])
def test_little_memory_is_a_warning(tmp_path: Path, available_kb: int, status: str) -> None:
    (tmp_path / "proc").mkdir()
    text = f"MemTotal:  8000000 kB\nHugePages_Total:   0\nMemAvailable: {available_kb} kB\n"
    (tmp_path / "proc/meminfo").write_text(text)
    assert memory.check(tmp_path).status == status


def test_a_disk_that_is_nearly_full_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for free_mib, status in ((10, "fail"), (1000, "warn"), (5000, "ok")):
        usage = (0, 0, free_mib << 20)
        monkeypatch.setattr(
            disk.shutil, "disk_usage", lambda path, u=usage: type("U", (), {"free": u[2]})()
        )
        assert disk.check(tmp_path).status == status


def test_pythons_without_wheels_are_a_warning() -> None:
    assert python.check((3, 14)).status == "warn"
    assert "training needs 3.11" in python.check((3, 10)).detail
    assert python.check((3, 12)).status == "ok"


def test_an_extra_is_ok_absent_or_of_another_version() -> None:
    from importlib.metadata import version

    numpy = version("numpy").split("+")[0]
    assert extras.judge("x", [Requirement("numpy", f"=={numpy}")]).status == "ok"
    wrong = extras.judge("x", [Requirement("numpy", "==0.9")])
    assert wrong.status == "warn" and f"numpy {numpy}, expected ==0.9" in wrong.detail
    missing = extras.judge("x", [Requirement("numpy", ""), Requirement("no-such-thing", "")])
    assert missing == Finding("extra x", "absent", "missing: no-such-thing", install_line("x"))
    assert extras.judge("", [Requirement("no-such-thing", "")]).status == "fail"


def test_on_a_bare_machine_every_remedy_installs_by_the_lines_that_are_run_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    for check in (engines, gl, realsense):
        monkeypatch.setattr(check, "installed", lambda module: False)
    monkeypatch.setattr(metadata, "version", absent)
    provided = metadata.metadata("ofp-edge").get_all("Provides-Extra") or []
    lines = {install_line(extra) for extra in ("", *provided)}
    said = {f.remedy for f in run_checks() if " install " in f.remedy}
    pip = {x for x in said if not x.startswith("sudo apt-get install -y ")}
    assert pip <= lines
    assert lines - pip == {install_line("dev")}


LINES = [
    "numpy>=1.24",
    "onnxruntime==1.23.2; (python_version < '3.11') and extra == 'onnxruntime'",
    "onnxruntime==1.31.1; (python_version >= '3.11') and extra == 'onnxruntime'",
    "sdk==2.59.1; (platform_machine == 'aarch64' and python_version == '3.10') and extra == 'cam'",
    'other (<3,>=2.1) ; extra == "cam"',
]


@pytest.mark.parametrize("python_version", ["3.9", "3.10", "3.11", "3.13"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_requirements_are_read_as_packaging_reads_them(python_version: str, machine: str) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    here = {"python_version": python_version, "platform_machine": machine}
    got = requirements_by_extra(LINES, here)
    assert set(got) == {"", "onnxruntime", "cam"}
    for extra, needs in got.items():
        expected = [
            r.name
            for r in map(packaging.Requirement, LINES)
            if ("extra" in str(r.marker)) == bool(extra)
            and (r.marker is None or r.marker.evaluate({**here, "extra": extra}))
        ]
        assert [need.name for need in needs] == expected


@pytest.mark.parametrize(
    ("specifier", "version", "fits"),
    [
        ("==2.13.0", "2.13.0+cpu", True),
        ("==2.13.0", "2.13", True),
        ("==2.13.0", "2.13.1", False),
        (">=0.6,<1", "0.8.0", True),
        (">=0.6,<1", "1.0", False),
        ("<3,>=2.1", "2.10", True),
        ("!=2", "2.0", False),
        ("", "7", True),
        ("~=2.0", "2.1", False),
    ],
)
def test_versions_are_compared_by_number(specifier: str, version: str, fits: bool) -> None:
    assert Requirement("x", specifier).fits(version) is fits
