"""run --realtime, run --duration inf, camera remarks in the log, and the unit of `service`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import typer
from mcap.reader import make_reader
from typer.testing import CliRunner

from ofp_edge.cli import service as service_command
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.runtime.still import RIG
from tests.synthetic import CAMERA

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "rig.toml").write_text(RIG)
    write_small_bundle(folder / "small", make_spec(points=True, horizon=100), {"front": CAMERA})
    return folder / "small", folder / "rig.toml"


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "ofp_edge", *map(str, arguments)], env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_realtime_run_says_what_was_set_and_ends_on_sigterm(parts, tmp_path):
    bundle, rig = parts
    log = tmp_path / "run.mcap"
    process = start("run", bundle, "--rig", rig, "--duration", "inf", "--realtime", "--log", log,
                    "--json")  # fmt: skip
    deadline = time.monotonic() + 60
    while not log.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3.0)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    values = json.loads(out)
    assert process.returncode == 0 and values["stopped_because"] == "SIGTERM"
    assert [s["name"] for s in values["realtime"]] == ["memory", "denormals", "core", "priority"]
    assert all(s["ok"] or s["remedy"] for s in values["realtime"] if s["name"] != "denormals")
    for setting in values["realtime"]:
        assert f"{setting['name']}: {setting['detail']}"[:40] in err
    assert values["camera_remarks"] == {"front": {"metadata absent": 1}}
    with log.open("rb") as file:
        rows = [json.loads(m.data) for _, c, m in make_reader(file).iter_messages("/event")]
    said = [row["detail"] for row in rows if row["what"] == "camera"]
    assert said == ["front: metadata absent: it is no camera"]
    assert err.count("metadata absent") == 1


def test_a_floor_that_is_worse_than_the_budget_is_refused_before_the_robot_moves(parts, tmp_path):
    bundle, rig = parts
    strict = tmp_path / "rig.toml"
    strict.write_text(rig.read_text() + "[realtime]\nwakeup_budget_us = 0.001\n")
    process = start("run", bundle, "--rig", strict, "--duration", 1, "--require-realtime", "--json")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "--require-realtime" in json.loads(out)["error"]


def write_unit(*arguments):
    app = typer.Typer()
    service_command.add(app)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_unit_has_limits_and_a_watchdog_and_systemd_agrees(parts, tmp_path):
    bundle, rig = parts
    unit = tmp_path / "arm.service"
    done = write_unit(bundle, "--rig", rig, "-o", unit, "--user", "root", "--watchdog", 2, "--json")
    values, text = json.loads(done.stdout), unit.read_text()
    limits = ("Type=notify", "WatchdogSec=2", "LimitRTPRIO=99", "LimitMEMLOCK=infinity")
    for line in (*limits, "Restart=no", "User=root", f"--rig {rig} --duration inf --realtime"):
        assert line in text
    if shutil.which("systemd-analyze"):
        assert values["verified"] is True and done.exit_code == 0, values["verify_says"]
    else:
        assert values["verified"] is None
    assert "systemctl enable --now arm.service" in values["install"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_odd_paths_are_quoted_and_what_systemd_dislikes_is_exit_code_1(parts, tmp_path):
    bundle, rig = parts
    odd = tmp_path / "a b%c$d"
    shutil.copytree(bundle, odd)
    unit = tmp_path / "x.service"
    done = write_unit(odd, "--rig", rig, "-o", unit, "--user", "root", "--json")
    assert json.loads(done.stdout)["verified"] is True, done.output
    assert f'"{tmp_path}/a b%%c$$d"' in unit.read_text()
    broken = service_command._UNIT
    try:
        service_command._UNIT = broken.replace("Type=notify", "Type=nonsense")
        done = write_unit(bundle, "--rig", rig, "-o", unit, "--force", "--json")
        assert json.loads(done.stdout)["verified"] is False and done.exit_code == 1
    finally:
        service_command._UNIT = broken


@pytest.mark.parametrize(
    "name", ["a\nExecStartPre=x", "a\rb", "a\x0bb", "a\x85b", "a\u2028b", "a ",
             "a\\", "a\x7f", os.fsdecode(b"a\xff")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["bundle", "rig", "log", "output", "folder", "user"])
def test_a_name_that_would_not_stay_on_its_line_is_refused(
    where, name, parts, tmp_path, monkeypatch
):
    bundle, rig = parts
    unit = tmp_path / "x.service"
    given = {"bundle": bundle, "rig": rig, "log": tmp_path / "l", "user": "root", "output": unit}
    if where == "folder":
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
    elif where == "user":
        given["user"] = name
    else:
        given[where] = tmp_path / name
        if where == "bundle":
            shutil.copytree(bundle, tmp_path / name)
        elif where == "rig":
            shutil.copy(rig, tmp_path / name)
    done = write_unit(
        given.pop("bundle"), *(x for key, value in given.items() for x in (f"--{key}", value)),
        "--json",
    )  # fmt: skip
    assert done.exit_code == 1, done.output
    line = json.loads(done.stdout)["error"]
    assert "expected" in line and line.isprintable(), line
    assert not list(tmp_path.glob("*.service"))


@pytest.mark.parametrize("user", ["", "root\nExecStart=/x", "%u", "a b", "a:b", "-x", "a/b", "a%%"])
def test_a_user_is_a_name_or_a_number(user, parts, tmp_path):
    bundle, rig = parts
    done = write_unit(bundle, "--rig", rig, "-o", tmp_path / "x.service", "--user", user, "--json")
    assert done.exit_code == 1 and "--user" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize("name", ["x.conf", "a b.service", "x.service.d", ".service"])
def test_a_unit_is_called_as_systemd_calls_one(name, parts, tmp_path):
    bundle, rig = parts
    done = write_unit(bundle, "--rig", rig, "-o", tmp_path / name, "--json")
    assert done.exit_code == 1 and "--output" in json.loads(done.stdout)["error"]


# Everything that systemd reads as something else: blanks, quotes, specifiers, variables, escapes,
# separators, comments, continued lines.
ODD = """a 'b' "c" %n%% $HOME ${HOME} \\x41 \\n ; # [Service] =é"""


def test_what_systemd_reads_is_what_was_meant(parts, tmp_path, monkeypatch):
    bundle, rig = parts
    odd = tmp_path / ODD
    odd.mkdir()
    shutil.copytree(bundle, odd / ODD)
    shutil.copy(rig, odd / f"{ODD}.toml")
    monkeypatch.chdir(odd)
    unit = tmp_path / "x.service"
    done = write_unit(odd / ODD, "--rig", f"{ODD}.toml", "-o", unit, "--user", "root", "--log",
                      f"{ODD}.mcap", "--json")  # fmt: skip
    values = json.loads(done.stdout)
    assert values["verified"] in (True, None) and done.exit_code == 0, values["verify_says"]
    settings = dict(
        line.split("=", 1) for line in unit.read_text().splitlines()
        if line and line[0] not in "#["
    )  # fmt: skip
    assert unit.read_text().count("\n[Service]\n") == 1
    words = systemd_words(settings["ExecStart"])
    assert words == [
        sys.executable, "-m", "ofp_edge", "run", str(odd / ODD), "--rig", str(odd / f"{ODD}.toml"),
        "--duration", "inf", "--realtime", "--log", str(odd / f"{ODD}.mcap"), "--force",
    ]  # fmt: skip
    assert settings["WorkingDirectory"].replace("%%", "%") == str(odd)
    assert not set(settings["Description"]) & set("%\\\"'$;#[]=")


def systemd_words(line):
    """As systemd.service(5) says: blanks, quotes, C escapes, then %% and $$."""
    words, word, quote, i = [], None, "", 0
    while i < len(line):
        c = line[i]
        if c == "\\":
            word, i = (word or "") + line[i + 1], i + 1
            assert line[i] in '\\"', "another escape"
        elif quote:
            word, quote = (word, "") if c == quote else (word + c, quote)
        elif c in "\"'":
            quote, word = c, word or ""
        elif c == " ":
            words, word = words + [word] * (word is not None), None
        else:
            word = (word or "") + c
        i += 1
    assert not quote
    return [w.replace("%%", "%").replace("$$", "$") for w in [*words, word]]


def test_the_unit_gives_every_process_its_time_to_bring_the_robot_to_rest(parts, tmp_path):
    bundle, rig = parts
    unit = tmp_path / "x.service"
    write_unit(bundle, "--rig", rig, "-o", unit, "--user", "root")
    lines = unit.read_text().splitlines()
    for line in ("KillMode=control-group", "KillSignal=SIGTERM", "TimeoutStopSec=30",
                 "RestartPreventExitStatus=1 2 3", "SuccessExitStatus=143"):  # fmt: skip
        assert line in lines


def test_wrong_options_are_one_line(parts, tmp_path):
    bundle, rig = parts
    for option in (("--restart", "always"), ("--watchdog", "0")):
        done = write_unit(bundle, "--rig", rig, "-o", tmp_path / "y.service", *option, "--json")
        assert done.exit_code == 1 and option[0] in json.loads(done.stdout)["error"]
    assert not (tmp_path / "y.service").exists()
