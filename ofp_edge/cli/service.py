"""`ofp-edge service`: the systemd unit that runs a bundle on a robot, with limits and watchdog."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError
from ofp_edge.files import check_output_file, write_bytes

KEYS = ("unit", "bundle", "rig", "user", "verified", "verify_says", "install")
_RESTARTS = ("no", "on-abnormal", "on-failure")
_UNIT = """\
# Written by `ofp-edge service`. A failure of the software is not an emergency stop: keep one.
[Unit]
Description=ofp-edge: {bundle} on {rig}

[Service]
# The control thread says READY=1 at its first tick and WATCHDOG=1 at every later one.
Type=notify
NotifyAccess=main
WatchdogSec={watchdog_s:g}
TimeoutStartSec=300
# SIGTERM goes to every process of the unit: the run stops the robot in order, the robot's own
# process stops it by itself, the supervisor is deaf to it. When the run is gone, whatever ended it,
# the others have TimeoutStopSec to bring the robot to rest: `mixed` would kill them at once,
# `process` would leave one that hangs behind, beside the next run.
KillMode=control-group
KillSignal=SIGTERM
SendSIGHUP=no
FinalKillSignal=SIGKILL
TimeoutStopSec=30
# A missed watchdog: SIGABRT to all, then as above.
WatchdogSignal=SIGABRT
TimeoutAbortSec=30
OOMPolicy=stop
# Stopped before the first tick; nothing had been moved.
SuccessExitStatus=143
User={user}
WorkingDirectory={folder}
Environment=PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
ExecStart={command}
# The program raises the threads that need it: CPUSchedulingPolicy= would raise the log's as well.
LimitRTPRIO=99
LimitMEMLOCK=infinity
# A latched fault (exit code 1), or a robot of which nobody knows whether it stands still (3), is
# looked at by a person before it moves again.
Restart={restart}
RestartPreventExitStatus=1 2 3
NoNewPrivileges=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def service(
    output: Output,
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    rig: Annotated[Path, typer.Option(help="The robot's rig file (TOML).")],
    unit: Annotated[Path, typer.Option("-o", "--output", help="Unit file to write.")] = Path(
        "ofp-edge.service"
    ),
    user: Annotated[
        str | None, typer.Option(help="Whom it runs as: may open cameras and robot. Default: you.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="MCAP log of each run. Default: none.")] = None,
    watchdog: Annotated[
        float, typer.Option(help="Seconds without a tick after which systemd ends the run.")
    ] = 1.0,
    restart: Annotated[
        str, typer.Option(help="no, on-abnormal or on-failure: start again after a crash.")
    ] = "no",
    force: Force = False,
) -> Document:
    """Write the systemd unit that runs a bundle in real time, with limits and a watchdog."""
    folder = os.getcwd()
    for what, text in (
        ("BUNDLE", str(bundle.resolve())),
        ("--rig", str(rig.resolve())),
        ("--log", str(log and log.resolve())),
        ("--output", str(unit)),
        ("this folder", folder),
        ("this Python", sys.executable),
    ):
        _require_one_line(what, text)
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]+\.service", unit.name):
        raise OfpError(
            f"--output {unit.name!r}: expected letters, digits and :_.@- before .service."
        )
    check_output_file(unit, force=force)
    if restart not in _RESTARTS:
        raise OfpError(f"--restart {restart}: expected {', '.join(_RESTARTS)}.")
    if not 0.1 <= watchdog <= 3600:
        raise OfpError(f"--watchdog {watchdog:g}: expected 0.1..3600 s.")
    from ofp_edge.bundle import open_bundle
    from ofp_edge.fields.text import told
    from ofp_edge.rig.file import read_rig
    from ofp_edge.runtime.kernel.realtime import user_name

    opened = open_bundle(bundle)
    fitting = read_rig(rig)
    fitting.require_fits(opened.spec)
    told(opened.spec.observations, fitting.instruction)
    user = (user_name() or str(os.getuid())) if user is None else user
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?", user):
        raise OfpError(f"--user {user!r}: expected the name or number of a user.")
    words = [
        sys.executable,
        "-m",
        "ofp_edge",
        "run",
        str(bundle.resolve()),
        "--rig",
        str(rig.resolve()),
        "--duration",
        "inf",
        "--realtime",
    ]
    if log is not None:
        words += ["--log", str(log.resolve()), "--force"]
    text = _UNIT.format(
        bundle=_plain(bundle.resolve().name),
        rig=_plain(rig.name),
        watchdog_s=watchdog,
        user=user,
        folder=_escaped(folder),
        restart=restart,
        command=" ".join(_quoted(word) for word in words),
    )
    verified, says = _verify(text)
    write_bytes(unit, text.encode())
    install = (
        f"sudo cp {shlex.quote(str(unit))} /etc/systemd/system/ && "
        f"sudo systemctl daemon-reload && sudo systemctl enable --now {shlex.quote(unit.name)}"
    )
    said = says[0] if says else "systemd-analyze verify: nothing to say"
    for line in (f"{unit}: {said}", install):
        output.console.print(line, soft_wrap=True, markup=False)
    output.exit_code = 1 if verified is False else 0
    return {
        "unit": str(unit),
        "bundle": str(bundle),
        "rig": str(rig),
        "user": user,
        "verified": verified,
        "verify_says": says,
        "install": install,
    }


def _require_one_line(what: str, text: str) -> None:
    """A line end would begin a line of its own in the unit; systemd cuts blanks off a value's end,
    joins a line that ends in a backslash with the next, and takes UTF-8 alone."""
    utf8 = not any("\ud800" <= c <= "\udfff" for c in text)
    plain = utf8 and not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text)
    if not plain or text != text.strip() or text.endswith("\\"):
        raise OfpError(
            f"{what} {text!r}: expected a path without control characters, in UTF-8, that ends in "
            "neither a blank nor a backslash: it is to be written into a unit. Rename it."
        )


def _plain(name: str) -> str:
    """For people to read: no character that systemd gives a meaning to."""
    return re.sub(r"[^\w .,:@+-]", "_", name)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word for systemd, whatever is in it."""
    plain = _escaped(word).replace("$", "$$")
    if any(c in plain for c in " \t\"'\\;"):
        plain = plain.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{plain}"'
    return plain


def _verify(text: str) -> tuple[bool | None, list[str]]:
    """What `systemd-analyze verify` says; None where there is none."""
    if shutil.which("systemd-analyze") is None:
        return None, ["not verified: systemd-analyze is not installed here"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ofp-edge.service"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(path)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        lines = [line.replace(f"{folder}/", "") for line in done.stderr.splitlines() if line]
    return done.returncode == 0 and not lines, lines


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "service", service, KEYS)
