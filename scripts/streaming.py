"""Training on what is mapped from a disk beside the same held in memory. Prints one JSON document.

    python scripts/streaming.py --gb 4 --limit-gb 1 --step-ms 50 --folder FOLDER

A made set whose network view is so large (one camera of 96 x 96) is cached and trained on inside a
control group with that limit of memory, the page cache dropped before, and trained on in memory
without a limit: the same steps, of as many windows as take about so long, in turn, `--rounds`
times; the ratio is the median of the rounds'. An epoch is as many steps as draw each window once on
average. Dropping and limiting need root; what could not be done is said (`limited`, `dropped`).
Opening is timed with the libraries loaded, whose imports are no part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.parent import end_with_parent
from ofp_edge.report.fingerprint import fingerprint

SIZE, EPISODE, WARM = 96, 300, 40
_TRIED = (2, 8)  # windows a step, by which the number that takes the wanted time is found


def write_set(path: Path, size_bytes: float) -> int:
    """Write a set of ours whose network view has so many bytes; return its frames."""
    import zarr

    from ofp_edge.fields import Rgb
    from tests.synthetic import CAMERA, action_fields, attributes, state_field

    episodes = max(2, round(size_bytes / (3 * SIZE * SIZE * EPISODE)))
    frames = episodes * EPISODE
    camera = {**CAMERA.to_json(), "width": SIZE, "height": SIZE}
    image = Rgb("rgb_front", (3, SIZE, SIZE), "1", "front", (0.0,) * 3, (1.0,) * 3, "front")
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    values = {**attributes([state_field(4), image], episodes), "cameras": {"front": camera}}
    root.attrs["ofp_edge"] = json.loads(json.dumps(values))
    data, meta = root.create_group("data"), root.create_group("meta")
    rng = np.random.default_rng(0)
    width = sum(field.shape[0] for field in action_fields())
    data.create_array("state", data=rng.uniform(-1, 1, (frames, 4)).astype(np.float32))
    data.create_array("action", data=rng.uniform(-1, 1, (frames, width)).astype(np.float32))
    shape = (frames, SIZE, SIZE, 3)
    colors: Any = data.create_array(
        "rgb_front", shape=shape, dtype="uint8", chunks=(100, *shape[1:]), compressors=None
    )
    for first in range(0, frames, EPISODE):
        colors[first : first + EPISODE] = rng.integers(0, 256, (EPISODE, *shape[1:]), np.uint8)
    meta.create_array("episode_ends", data=np.arange(1, episodes + 1) * EPISODE)
    return frames


def run(asked: dict[str, Any]) -> dict[str, Any]:
    """One training in this process: seconds of opening, and when every tenth step was done."""
    import torch  # noqa: F401
    import zarr  # noqa: F401

    from ofp_edge.data.cache.access import Access
    from ofp_edge.data.open import open_dataset
    from ofp_edge.train.loop import train
    from ofp_edge.train.plan import make_plan
    from ofp_edge.train.request import Request

    if not end_with_parent(asked["parent"]):
        raise SystemExit(1)
    access = Access(None, "never")
    if asked["cache"] is not None:
        access = Access(Path(asked["cache"]), "always", limit_bytes=1 << 50)
    begun = time.monotonic()
    open_dataset(Path(asked["set"]), access)
    opened_s = time.monotonic() - begun
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            Path(asked["set"]), Path(folder) / "p", preset="rgb", seed=0,
            steps=max(asked["steps"], 1), batch_size=asked["batch"],
        )  # fmt: skip
        begun = time.monotonic()
        plan = make_plan(request, access)
        planned_s = time.monotonic() - begun
        times: list[tuple[int, float]] = []
        if not asked["steps"]:
            return {"opened_s": opened_s, "planned_s": planned_s}
        result = train(
            plan, checkpoint_every=1 << 30, validate_every=1 << 30, workers=asked["workers"],
            progress=lambda done, total, note="": times.append((done, time.monotonic())),
        )  # fmt: skip
    return {
        "opened_s": opened_s, "times": times, "waited_s": result.data_wait_s,
        "peak_mib": {name: _status(name) for name in ("VmHWM", "RssAnon", "RssFile")},
    }  # fmt: skip


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(x for x in lines if x.startswith(f"{name}:")).split()[1]) / 1024, 1)


def in_process(asked: dict[str, Any], group: Path | None = None) -> dict[str, Any]:
    """`run` in a process of its own, in a control group from its first step on."""

    def enter() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, __file__, "--run", json.dumps({**asked, "parent": os.getpid()})],
        stdout=subprocess.PIPE, text=True, preexec_fn=enter, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"a training ended with {done.returncode}: {asked}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def limited(size_bytes: int) -> Iterator[Path | None]:
    """A control group with so much memory, of version 2 or else 1; None where none can be made."""
    for base, name, swap in (
        (Path("/sys/fs/cgroup"), "memory.max", "memory.swap.max"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", ""),
    ):
        group = base / f"ofp-streaming-{os.getpid()}"
        try:
            if not (base / ("cgroup.controllers" if swap else name)).exists():
                continue  # another version's, where a folder would be a plain one
            group.mkdir()
        except OSError:
            continue
        try:
            with (group / name).open("r+") as file:  # not there where memory isn't delegated
                file.write(str(size_bytes))
            if swap and (group / swap).exists():
                (group / swap).write_text("0")
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    yield None


def drop_page_cache() -> bool:
    """Empty it where it may be; say whether it was."""
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("1")
        return True
    return False


def windows_of(step_ms: float, asked: dict[str, Any]) -> int:
    """How many windows a step of about so long has: a line through two that are measured."""
    took = []
    for batch in _TRIED:
        times = in_process({**asked, "batch": batch, "steps": WARM + 60})["times"]
        took.append(1000 / _rate(times, WARM, times[-1][0]))
    each = max((took[1] - took[0]) / (_TRIED[1] - _TRIED[0]), 1e-3)
    return max(1, round(_TRIED[0] + (step_ms - took[0]) / each))


def _rate(times: list[list[float]], first: float, last: float) -> float:
    """Steps a second between two steps."""
    part = [(done, at) for done, at in times if first <= done <= last]
    return (part[-1][0] - part[0][0]) / (part[-1][1] - part[0][1])


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the set and both trainings; see the module."""
    data, cache = folder / "set.zarr", folder / "cache"
    frames = write_set(data, given.gb * 1e9)
    asked: dict[str, Any] = {
        "set": str(data), "cache": str(cache), "workers": 2, "batch": 2, "steps": 0,
    }  # fmt: skip
    with limited(int(given.limit_gb * 1e9)) as group:
        first = in_process(asked, group)
        again = [in_process(asked, group) for _ in range(5)]
        batch = given.batch or windows_of(given.step_ms, asked)
        epoch = max(WARM + 20, frames * 9 // 10 // batch)
        asked |= {"batch": batch, "steps": given.steps or 2 * epoch}
        both = []
        for _ in range(given.rounds):
            dropped = drop_page_cache()
            mapped = in_process(asked, group)
            held = in_process({**asked, "cache": None, "workers": 0})
            both.append((mapped, held))
    last = asked["steps"]
    half = min(epoch, last // 2 // 10 * 10)
    rounds = [
        {
            "mapped_steps_per_s": _rate(mapped["times"], WARM, last),
            "held_steps_per_s": _rate(held["times"], WARM, last),
            "first_steps_per_s": _rate(mapped["times"], WARM, half),
            "later_steps_per_s": _rate(mapped["times"], half, last),
            "mapped_waited_s": mapped["waited_s"],
        }
        for mapped, held in both
    ]
    return {
        "gb": given.gb, "frames": frames, "windows_a_step": batch, "steps": last,
        "steps_an_epoch": epoch, "limit_gb": given.limit_gb,
        "limited": str(group) if group else "no: no control group could be made",
        "dropped": dropped,
        "ratio": _median(r["mapped_steps_per_s"] / r["held_steps_per_s"] for r in rounds),
        "first_of_later": _median(r["first_steps_per_s"] / r["later_steps_per_s"] for r in rounds),
        "rounds": rounds,
        "mapped_mib": mapped["peak_mib"],
        "held_mib": held["peak_mib"], "caching_s": first["opened_s"] + first["planned_s"],
        "opening_again_s": _median(x["opened_s"] for x in again),
        "planning_again_s": _median(x["planned_s"] for x in again),
        "fingerprint": fingerprint(os.cpu_count() or 1),
    }  # fmt: skip


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=4.0, help="of what the network sees [4]")
    parser.add_argument("--limit-gb", type=float, default=1.0, help="of memory [1]")
    parser.add_argument("--step-ms", type=float, default=50.0, help="of a step [50]")
    parser.add_argument("--batch", type=int, help="windows a step; by default by --step-ms")
    parser.add_argument("--steps", type=int, help="by default two epochs")
    parser.add_argument("--rounds", type=int, default=3, help="of both trainings, in turn [3]")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; emptied after")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        print(json.dumps(run(json.loads(given.run))))
        return
    if given.steps is not None and given.steps < 4 * WARM:
        parser.error(f"--steps {given.steps}: expected {4 * WARM} or more.")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(143))  # what it made goes all the same
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="streaming-", dir=given.folder))
    try:
        print(json.dumps(measure(given, folder), indent=1))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
