"""Demonstrations: whole, repeatable, successful, in the layout other tools read."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("metaworld")
zarr = pytest.importorskip("zarr")

from ofp_edge.camera_parameters import CameraParameters  # noqa: E402
from ofp_edge.cli.collect import KEYS, add  # noqa: E402
from ofp_edge.data.open import open_dataset  # noqa: E402
from ofp_edge.errors import MissingExtra, OfpError, OutputExists, UnknownName  # noqa: E402
from ofp_edge.origin import install_line  # noqa: E402
from ofp_edge.sim.collect import collect_demonstrations  # noqa: E402
from ofp_edge.sim.metaworld import MetaWorld  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import Interface  # noqa: E402

TASK = "metaworld/door-open"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "door.zarr"
    moves = []
    done = collect_demonstrations(
        TASK, 3, path, depth_by="rays", progress=lambda *a: moves.append(a)
    )
    assert moves[-1][:2] == (3, 3)
    return done, zarr.open_group(str(path), mode="r")


def test_the_layout_is_diffusion_policys(dataset):
    done, root = dataset
    ends = root["meta/episode_ends"][:]
    assert root.metadata.zarr_format == 2
    assert ends.dtype == np.int64 and len(ends) == done.episodes == 3 and ends[-1] == done.steps
    assert root["data/state"].shape == (done.steps, 4) and root["data/state"].dtype == np.float32
    assert root["data/action"].shape == (done.steps, 4) and root["data/action"].dtype == np.float32
    depth = root["data/depth_front"]
    assert depth.shape == (done.steps, 48, 64) and depth.dtype == np.uint16
    assert json.loads((done.dataset / "data/depth_front/.zarray").read_text())["compressor"] == {
        "id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1, "blocksize": 0,
    }  # fmt: skip


def test_the_attributes_make_a_spec_and_name_every_seed(dataset):
    done, root = dataset
    attrs = root.attrs["ofp_edge"]
    assert attrs["schema_version"] == 1 and attrs["task"] == TASK and attrs["control_hz"] == 20.0
    assert len(attrs["seeds"]) == 3 and attrs["success"] == [True] * 3
    assert (
        attrs["collector"] == {"noise": 0.3, "wander": 8, "depth_by": "rays"}
        and done.depth_by == "rays"
    )
    interface = Interface.from_json({name: attrs[name] for name in ("observations", "actions")})
    assert interface.cameras == ("front",)
    camera = CameraParameters.from_json(attrs["cameras"]["front"])
    assert (camera.width, camera.height) == (64, 48)


def test_nothing_is_odd_about_what_an_expert_did(dataset):
    done, _ = dataset
    assert open_dataset(done.dataset).odd == ()


def test_recorded_actions_are_the_experts_and_executed_ones_were_noisy(dataset):
    _, root = dataset
    world = MetaWorld(find_task(TASK))
    world.reset(root.attrs["ofp_edge"]["seeds"][0])
    states, actions = root["data/state"][:], root["data/action"][:]
    np.testing.assert_array_equal(world.state(4), states[0])
    np.testing.assert_array_equal(world.expert_action(), actions[0])
    world.step(actions[0])
    assert np.abs(world.state(4) - states[1]).max() > 1e-4


def test_the_same_seed_gives_the_same_dataset(dataset, tmp_path):
    done, root = dataset
    collect_demonstrations(TASK, 3, tmp_path / "again", depth_by="rays")
    again = zarr.open_group(str(tmp_path / "again"), mode="r")
    for name in ("data/state", "data/action", "data/depth_front", "meta/episode_ends"):
        np.testing.assert_array_equal(again[name][:], root[name][:])


def test_state_observations_need_no_camera(tmp_path):
    done = collect_demonstrations(TASK, 2, tmp_path / "s", observe="state", noise=0.0, seed=50)
    root = zarr.open_group(str(tmp_path / "s"), mode="r")
    assert root["data/state"].shape == (done.steps, 39) and done.depth_by is None
    assert sorted(root["data"].array_keys()) == ["action", "state"]
    assert root.attrs["ofp_edge"]["seeds"][0] >= 50 and root.attrs["ofp_edge"]["cameras"] == {}


def test_failed_episodes_are_left_out_counted_and_replaced(tmp_path):
    done = collect_demonstrations(TASK, 6, tmp_path / "d", observe="state", noise=1.2)
    seeds = zarr.open_group(str(tmp_path / "d"), mode="r").attrs["ofp_edge"]["seeds"]
    assert done.failed > 0 and len(seeds) == 6
    assert seeds[-1] == 6 + done.failed - 1


def test_an_expert_that_hardly_ever_succeeds_is_said_to_and_nothing_is_written(tmp_path):
    with pytest.raises(OfpError, match="failed in .* of 4 episodes with noise 30"):
        collect_demonstrations(TASK, 1, tmp_path / "d", observe="state", noise=30.0)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_the_old_dataset_whole(tmp_path):
    collect_demonstrations(TASK, 1, tmp_path / "d", observe="state")
    old = (tmp_path / "d/.zattrs").read_bytes()

    def interrupt(done, total, note=""):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_demonstrations(
            TASK, 2, tmp_path / "d", observe="state", force=True, progress=interrupt
        )
    assert (tmp_path / "d/.zattrs").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_bad_input_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UnknownName, match="unknown task"):
        collect_demonstrations("metaworld/dance", 1, tmp_path / "d")
    with pytest.raises(OfpError, match="at least 1"):
        collect_demonstrations(TASK, 0, tmp_path / "d")
    with pytest.raises(OfpError, match="--noise"):
        collect_demonstrations(TASK, 1, tmp_path / "d", noise=float("nan"))
    with pytest.raises(OutputExists):
        collect_demonstrations(TASK, 1, tmp_path / "taken")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtra, match=re.escape(f"Run: {install_line('sim')}")):
        collect_demonstrations(TASK, 1, tmp_path / "d")


def run(*arguments):
    app = typer.Typer()
    app.callback()(lambda: None)
    add(app)
    return CliRunner().invoke(app, ["collect", *map(str, arguments)])


def test_the_command_prints_one_json_document(tmp_path):
    result = run(TASK, "-n", 1, "-o", tmp_path / "d", "--obs", "state", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert set(document) == set(KEYS) and document["episodes"] == 1
    result = run(TASK, "-n", 1, "-o", tmp_path / "d", "--obs", "state", "--json")
    assert result.exit_code == 1 and "--force" in json.loads(result.stdout)["error"]
    result = run(TASK, "-n", 1, "-o", tmp_path / "e", "--obs", "smell", "--json")
    assert "depth, rgb, state" in json.loads(result.stdout)["error"]


def test_without_any_gl_library_depth_is_made_by_rays(tmp_path):
    code = f"""
import ctypes.util, os, sys
ctypes.util.find_library = lambda name: None
from ofp_edge.sim.collect import collect_demonstrations
from pathlib import Path
done = collect_demonstrations({TASK!r}, 1, Path({str(tmp_path / "d")!r}))
assert done.depth_by == "rays", done
assert os.environ["MUJOCO_GL"] == "disable"
assert "OpenGL" not in sys.modules
"""
    clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "OFP_EDGE_DEPTH_BY")}
    done = subprocess.run([sys.executable, "-c", code], env={**clean, "PYTHONPATH": os.getcwd()},
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
