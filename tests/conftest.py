"""What every test shares: hardware stays out unless asked for, CI may not skip for tools."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.needs import absent

NOT_UNASKED = ("realsense_device", "jetson", "tensorrt", "fastdds", "vla", "stranger")

# The files that take longest, begun first: a worker that gets one last leaves the others idle. Of
# those that export, not two at the start that export the same (targets/once.py).
LONGEST = (
    "targets/test_compile.py", "targets/test_prefix_export.py", "targets/test_trunks_export.py",
    "targets/test_rgb_export.py", "targets/test_wheels_index.py", "train/test_processes.py",
    "runtime/ends/test_ends.py", "packaging/test_wheel.py", "train/test_loop.py",
    "targets/test_leave_out.py", "targets/test_jetson_orin.py", "targets/test_unsigned.py",
    "targets/test_starts_compiled.py", "imports/test_program.py", "bench/test_run.py",
    "bench/test_goes_on.py",
    "packaging/test_install_lines.py", "packaging/test_lock_renewal.py", "cli/test_run_ends.py",
    "evaluate/test_closed_loop.py", "evaluate/test_lanes.py", "runtime/test_runner_executorch.py",
    "runtime/test_loop_simulated.py", "train/test_toy_trunk.py", "targets/test_toy_engine.py",
    "train/test_command.py",
)  # fmt: skip

# librealsense 2.59 reports usage to a server unless told not to.
os.environ.setdefault("RS2_RUM_CLOUD_ENABLED", "0")

# Networks here are tiny: on a busy machine a second thread that spins while it waits costs minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing is left in, or taken from, the cache of whoever runs the tests.
os.environ["OFP_EDGE_CACHE"] = tempfile.mkdtemp(prefix="ofp-edge-tests-")
atexit.register(shutil.rmtree, os.environ["OFP_EDGE_CACHE"], True)

# No test waits for a disk: what is synced, and when, is tested in processes of its own
# (test_power_loss.py, test_crash_points.py).
os.fsync = os.fdatasync = lambda handle: None

# A busy machine is no reason to fail an example; in CI every run tries the same ones.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests of hardware, and of wheels not in .venv, that `-m` does not name. The longest
    files come first."""
    rank = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    asked = config.getoption("markexpr")
    out = [
        item
        for item in items
        if any(item.get_closest_marker(name) and name not in asked for name in NOT_UNASKED)
    ]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in set(out)]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is such: syncing there costs nothing."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK):
        yield tmp_path_factory.mktemp("memory")
        return
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `compile` exports is exported once, for all processes of this run of the tests."""
    from ofp_edge.targets.export import FORMS
    from tests.targets.once import once

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for form, export in list(FORMS.items()):
            patch.setitem(FORMS, form, once(export, form, folder))
        yield


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that can open a report without a screen; absent fails in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    absent("no Chromium on PATH: apt-get install chromium")
