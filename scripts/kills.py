"""Kill every command that writes, at random moments, and look at what stands there then.

    python scripts/kills.py [--kills 200] [--seed 0] [--only NAME ...]

Each command writes over an output that stands there (--force) and is killed (SIGKILL): at a moment
drawn from its whole time, or just after it has begun to write, or while it takes its output's name.
What stands there afterwards must be the old output, bit for bit, or a new one that opens. In the
end each command runs through once, after which nothing of the killed ones may be left.

All run in forks of one process that has imported everything: a command then takes no longer than
what it does. Exit code 1 when one output was neither old nor new, or something was left.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.update({"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})

import numpy as np
import onnxruntime  # noqa: F401
import torchao.quantization.pt2e  # noqa: F401

from ofp_edge.bundle import open_bundle
from ofp_edge.cli.main import build_app
from ofp_edge.data.open import open_dataset
from ofp_edge.policy.folder import load_policy
from ofp_edge.rig.file import read_rig
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.targets import compile as _compile  # noqa: F401
from ofp_edge.targets import wheels
from ofp_edge.targets.pip_download import Say
from ofp_edge.targets.systems import System
from ofp_edge.train import loop as _loop  # noqa: F401

TASK = "planar/obstacle"
FIXTURES = Path(__file__).resolve().parents[1] / "tests"
RIG = f"""schema_version = 1
[robot]
driver = "ofp_edge.sim.robot:SimulatedRobot"
options = {{ task = "{TASK}" }}
[timing]
latency_ms = 50.0
max_plan_age_ms = 400.0
"""
SUITE = f"""name = "kills"
observe = "state"
preset = "tiny"
seeds = [0]
[evaluate]
episodes = 1
most_episodes = 1
half_width = 0.5
[[tasks]]
name = "{TASK}"
demonstrations = 2
steps = 4
[[rows]]
name = "ours"
method = "ofp-plus"
nfe = [1]
"""


def opens_json(path: Path) -> None:
    """A whole JSON document."""
    json.loads(path.read_text())


def opens_page(path: Path) -> None:
    """A whole page or drawing."""
    if not path.read_text().rstrip().endswith(("</html>", "</svg>")):
        raise ValueError(f"{path} has no end")


def opens_arrays(path: Path) -> None:
    """Every array of it."""
    with np.load(path) as arrays:
        for name in arrays.files:
            arrays[name]


def opens_log(path: Path) -> None:
    """A header, and rows that are JSON."""
    list(LogReader(path).rows())


def opens_wheels(path: Path) -> None:
    """Every wheel of the list."""
    for wheel in json.loads((path / "wheels.json").read_text())["wheels"]:
        with zipfile.ZipFile(path / wheel["file"]) as archive:
            archive.testzip()


def opens_bench(path: Path) -> None:
    """Every cell, and what was made of them."""
    for file in path.rglob("*.json"):
        opens_json(file)
    for config in path.rglob("config.json"):
        policy = config.parent
        if not any(part.startswith(".") for part in policy.relative_to(path).parts):
            load_policy(policy)


CASES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "collect": (f"collect {TASK} -n 2 --obs state -o OUT --force", "out.zarr", open_dataset),
    "convert": ("data convert SOURCE -o OUT --force", "out.zarr", open_dataset),
    "train": (
        "train data.zarr -o OUT --preset tiny --steps 60 --checkpoint-every 5 --force", "out",
        load_policy,
    ),
    "resume": ("train data.zarr -o OUT --resume", "out", load_policy),
    "distill": ("distill flow data.zarr -o OUT --steps 10 --force", "out", load_policy),
    "import": ("import --lerobot LEROBOT --control-hz 10 -o OUT --force", "out", load_policy),
    "quantize": ("quantize policy --calibration data.zarr -o OUT --force", "out", load_policy),
    "compile": ("compile policy --target host -o OUT --force", "out", open_bundle),
    "samples": (
        "calibrate samples data.zarr --policy policy -o OUT --force", "out.npz", opens_arrays,
    ),
    "eval": (f"eval bundle --task {TASK} --episodes 1 -o OUT --force", "out.json", opens_json),
    "profile": ("profile bundle --duration 1 -o OUT --force", "out.html", opens_page),
    "run": ("run bundle --rig rig.toml --duration 1 --log OUT --force", "out.mcap", opens_log),
    "record": (
        "run bundle --rig rig.toml --duration 1 --record-calibration OUT --force", "out.npz",
        opens_arrays,
    ),
    "bench": ("bench suite.toml -o OUT --workers 1", "out", opens_bench),
    "board": ("calibrate board -o OUT --force", "out.svg", opens_page),
    "service": ("service bundle --rig rig.toml -o OUT --force", "out.service", Path.read_text),
    "pick": ("profile bundle --rig OUT --pick --duration 1 --force", "out.toml", read_rig),
    "wheels": (
        "wheels --board raspberry-pi-5 --python 3.11 --find-links . -o OUT --force", "out",
        opens_wheels,
    ),
}  # fmt: skip


def forked(work: Callable[[], object], folder: Path) -> int:
    """Start `work` in a process and a process group of its own; its number."""
    child = os.fork()
    if child:
        return child
    code = 9
    try:
        os.setsid()
        os.chdir(folder)
        out = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Its exit code, when it and all it started are gone."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return code


def ofp_edge(words: str, folder: Path) -> Callable[[], object]:
    """A command as typed."""
    named = {
        "SOURCE": str(FIXTURES / "fixtures/datasets/diffusion-policy.zarr"),
        "LEROBOT": str(FIXTURES / "imports/fixtures/lerobot_state"),
    }

    def call() -> None:
        wheels.fetch_wheels = put_wheels  # type: ignore[attr-defined]
        sys.argv = ["ofp-edge", *(named.get(word, word) for word in words.split())]
        build_app()()

    return call


def put_wheels(
    folder: Path, system: System, wanted: Sequence[str], find_links: Sequence[Path], say: Say
) -> None:
    """In pip's place: empty wheels of what it is asked for, of a version that will do."""
    from packaging.requirements import Requirement

    for text in wanted:
        asked = Requirement(text)
        name, stated = asked.name.replace("-", "_"), [x.version for x in asked.specifier]
        tried = ["9.0", *stated, *(f"{x.removesuffix('.*')}.1" for x in stated)]
        version = next(x for x in tried if not x.endswith("*") and asked.specifier.contains(x))
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
            about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n"
            archive.writestr(f"{name}-{version}.dist-info/METADATA", about)


def must(words: str, folder: Path) -> None:
    """Run a command to its end."""
    if ended(forked(ofp_edge(words, folder), folder)) != 0:
        sys.exit(f"ofp-edge {words}\n{(folder / 'output').read_text()}")


def prepare(folder: Path) -> None:
    """What the commands start from."""
    (folder / "rig.toml").write_text(RIG)
    (folder / "suite.toml").write_text(SUITE)
    must(f"collect {TASK} -n 3 --obs state -o data.zarr", folder)
    must("train data.zarr -o policy --preset tiny --steps 10", folder)
    must("train data.zarr -o flow --method flow --preset tiny --steps 10", folder)
    must("compile policy --target host -o bundle", folder)


def digest(out: Path) -> str:
    """Of everything that an output consists of."""
    found = hashlib.sha256()
    named = sorted(out.parent.glob(f"{out.stem}*{out.suffix}"))
    for path in [x for p in named for x in ([p] if p.is_file() else sorted(p.rglob("*")))]:
        if path.is_file():
            found.update(f"{path.relative_to(out.parent)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def kill_at_random(child: int, place: Path, seconds: float, draw: random.Random) -> None:
    """Wait for a moment that is worth a kill, then kill; see the module's docstring."""
    until = time.monotonic() + (draw.uniform(0, seconds) if draw.random() < 0.3 else 20 * seconds)
    wanted = draw.choice((".partial", ".lock"))
    while time.monotonic() < until:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        seen = [name for name in os.listdir(place) if name.startswith(".out") and wanted in name]
        if seen and draw.random() < 0.5:
            time.sleep(draw.uniform(0, 0.02 if wanted == ".partial" else 0.002))
            break
        time.sleep(0.0005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)


def kill(name: str, folder: Path, kills: int, draw: random.Random) -> tuple[int, int]:
    """Kill a command so many times; how often its output was the old one, and a new one."""
    words, output, opens = CASES[name]
    place = folder / name
    place.mkdir()
    for item in folder.iterdir():
        if item.name not in CASES and item.name != "output":
            (place / item.name).symlink_to(item)
    out, words = place / output, words.replace("OUT", output)
    if name == "pick":
        out.write_text(RIG)
    first = words.replace("--resume", "--preset tiny --steps 60 --checkpoint-every 5")
    began = time.monotonic()
    must(first, place)
    seconds, old, new = time.monotonic() - began, 0, 0
    for _ in range(kills):
        if name == "resume":  # a run that is unfinished, beside the finished one
            child = forked(ofp_edge(first + " --force", place), place)
            while not (place / f"{output}.unfinished").exists() and not os.waitid(
                os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
            ):
                time.sleep(0.001)
            os.killpg(child, signal.SIGKILL)
            ended(child)
        before = digest(out)
        child = forked(ofp_edge(words, place), place)
        kill_at_random(child, place, seconds, draw)
        ended(child)
        same = digest(out) == before
        old, new = old + same, new + (not same)
        if ended(forked(lambda: opens(out), place)) != 0:
            sys.exit(
                f"{name}: neither the old output nor a new one\n{(place / 'output').read_text()}"
            )
    must(words, place)
    left = [x.name for x in place.rglob(".*") if x.name.endswith((".partial", ".lock", ".aside"))]
    if left:
        sys.exit(f"{name}: left over: {', '.join(left)}")
    return old, new


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    options = parser.parse_args()
    draw = random.Random(options.seed)
    shares = [options.kills * (i + 1) // len(options.only) for i in range(len(options.only))]
    total = [0, 0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for i, case in enumerate(options.only):
            old, new = kill(case, folder, shares[i] - (shares[i - 1] if i else 0), draw)
            total = [total[0] + old, total[1] + new]
            print(f"{case:10} {old + new:4} kills: {old:4} old, {new:4} new", flush=True)
    print(f"{'all':10} {sum(total):4} kills: {total[0]:4} old, {total[1]:4} new")


if __name__ == "__main__":
    main()
