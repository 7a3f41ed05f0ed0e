"""Two colour cameras in simulation: collected, evaluated and run by one path, the SDK's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("metaworld")
pytest.importorskip("pyrealsense2")
pytest.importorskip("zarr")

from ofp_edge.data.open import open_dataset  # noqa: E402
from ofp_edge.errors import CameraError, OfpError, UnknownName  # noqa: E402
from ofp_edge.evaluate.closed_loop import Evaluator, Job  # noqa: E402
from ofp_edge.image import ColorImage  # noqa: E402
from ofp_edge.rig.file import CameraEntry  # noqa: E402
from ofp_edge.runtime.cameras.open import open_camera  # noqa: E402
from ofp_edge.runtime.control.loop import Limits  # noqa: E402
from ofp_edge.runtime.run_files import Request, read_run  # noqa: E402
from ofp_edge.runtime.session import open_session  # noqa: E402
from ofp_edge.sim.camera import SimulatedCamera  # noqa: E402
from ofp_edge.sim.collect import collect_demonstrations  # noqa: E402
from ofp_edge.sim.open import shared_world  # noqa: E402
from ofp_edge.sim.render import open_renderer  # noqa: E402
from ofp_edge.sim.simulator import ManualClock, open_simulator  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402
from tests.task_spec import spec_of  # noqa: E402

TASK = "metaworld/door-open"
DRIVER = "ofp_edge.sim.camera:SimulatedCamera"
SPEC = replace(spec_of(find_task(TASK), "rgb"), horizon=64, n_action_steps=2)


@pytest.fixture(scope="module")
def dataset(gl: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rgb"
    collect_demonstrations(TASK, 1, path, observe="rgb", image_size=(24, 32), depth_by=gl)
    return path


@pytest.fixture(scope="module")
def bundle(gl: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    views = {name: view.parameters() for name, view in find_task(TASK).views.items()}
    return write_small_bundle(tmp_path_factory.mktemp("b") / "bundle", SPEC, views)


def test_a_dataset_holds_what_each_camera_saw_in_the_size_asked_for(dataset: Path) -> None:
    found = open_dataset(dataset)
    assert [f.name for f in found.interface.observations] == ["state", "rgb_front", "rgb_side"]
    world = shared_world(TASK, TASK)
    world.reset(found.seeds[0])
    for name, view in find_task(TASK).views.items():
        seen = found.fields[f"rgb_{name}"]
        assert seen.shape == (len(found), 3, 24, 32) and seen[0].std() > 10
        assert (found.cameras[name].height, found.cameras[name].width) == (24, 32)
        renderer = open_renderer(world, view.sized((24, 32)))
        color = renderer.render(True)[1]
        renderer.close()
        assert color is not None
        np.testing.assert_array_equal(seen[0], color.transpose(2, 0, 1))
    assert not np.array_equal(found.fields["rgb_front"], found.fields["rgb_side"])


def test_a_bad_size_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OfpError, match="--image-size"):
        collect_demonstrations(TASK, 1, tmp_path / "d", observe="rgb", image_size=(0, 4))


def test_the_evaluator_shows_a_policy_both_cameras_at_each_step(bundle: Path) -> None:
    evaluator = Evaluator(Job(bundle, TASK))
    kept: list[dict[str, np.ndarray]] = []
    observe = evaluator.contestant.inference.observe

    def watch(t_ns: int, arrays: dict[str, np.ndarray]) -> None:
        kept.append({name: x.copy() for name, x in arrays.items()})
        observe(t_ns, arrays)

    evaluator.contestant.inference.observe = watch  # type: ignore[method-assign,assignment]
    episode = evaluator.run(1_000_000)
    world = evaluator.simulator.world
    world.reset(1_000_000)
    for name, view in find_task(TASK).views.items():
        renderer = open_renderer(world, view)
        color = renderer.render(True)[1]
        renderer.close()
        assert color is not None
        shrink = ColorImage(view.width, view.height, (3, 48, 64))
        np.testing.assert_array_equal(kept[0][f"rgb_{name}"], shrink(color))
    assert len(kept) == episode.plans > 5 and not episode.fault
    assert (kept[0]["rgb_side"] != kept[-1]["rgb_side"]).any()
    evaluator.close()


def test_the_frames_of_another_episode_reach_the_policy_in_colour(bundle: Path) -> None:
    evaluator = Evaluator(Job(bundle, TASK, frames="other"))
    played = evaluator.record(5)
    assert sorted(played) == ["front", "side"]
    cameras = evaluator.simulator.cameras
    evaluator.simulator.robot.reset(6)
    evaluator.clock.advance(SPEC.dt_ns)
    for name, camera in cameras.items():
        camera.play(played[name])
        frame = camera.read(0)
        assert frame is not None
        np.testing.assert_array_equal(frame.color, played[name][0].color)
        with pytest.raises(CameraError, match="with colour, got .* no colour"):
            camera.play([replace(played[name][0], color=None)])
    evaluator.close()


def test_a_dry_run_on_the_example_rig(bundle: Path, tmp_path: Path) -> None:
    text = Path("examples/rig-sim-rgb.toml").read_text().replace("metaworld/door-open", TASK)
    # A loaded test machine renders late, and late frames are dropped.
    text = text.replace("max_age_ms = 200.0", "max_age_ms = 3000.0")
    text = text.replace("max_plan_age_ms = 400.0", "max_plan_age_ms = 3200.0")
    (tmp_path / "rig.toml").write_text(text)
    with open_session(read_run(Request(bundle, tmp_path / "rig.toml"))) as session:
        session.loop.run(Limits(duration_s=3.0, dry_run=True))
        assert session.loop.controller.counters.plans > 0
        assert sorted(session.observer.spec.cameras) == ["front", "side"]


def test_a_view_that_the_task_lacks_and_a_bad_size_are_refused() -> None:
    options = {"task": TASK, "world": TASK}
    with pytest.raises(UnknownName, match="front, side"):
        open_camera(CameraEntry("ceiling", DRIVER, 200.0, options))
    with pytest.raises(CameraError, match=r"size: expected \[height, width\]"):
        open_camera(CameraEntry("front", DRIVER, 200.0, {**options, "size": [48, 0]}))


def test_a_camera_of_points_and_images_keeps_the_views_own_size(gl: str) -> None:
    points = spec_of(find_task(TASK)).observations
    both = (*points, *spec_of(find_task(TASK), "rgb").observations[1:])
    small = tuple(replace(f, shape=(3, 12, 16)) if f.kind == "rgb" else f for f in both)
    opened = open_simulator(TASK, replace(SPEC, observations=small), ManualClock(), depth_by=gl)
    sizes = {n: (c.parameters.height, c.parameters.width) for n, c in opened.cameras.items()}
    opened.close()
    assert sizes == {"front": (48, 64), "side": (12, 16)}
    assert isinstance(opened.cameras["side"], SimulatedCamera)
