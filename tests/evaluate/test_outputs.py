"""What `eval` writes beside its document: a page of success against latency, and a film."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("metaworld")
pytest.importorskip("torch")

from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.errors import OfpError, OutputExists  # noqa: E402
from ofp_edge.evaluate.closed_loop import Job, run_episodes  # noqa: E402
from ofp_edge.evaluate.video import check_video, film, framed  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from tests.needs import absent  # noqa: E402
from tests.rendering import require_readable
from tests.synthetic import tiny_policy  # noqa: E402
from tests.task_spec import spec_of  # noqa: E402

TASK = find_task("metaworld/button-press-topdown-wide")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = replace(spec_of(TASK, "state"), horizon=8, n_action_steps=4)
    path = tmp_path_factory.mktemp("outputs") / "p"
    return tiny_policy(path, spec=spec, task="metaworld/door-open")


def test_success_against_latency_is_one_document_and_one_page(
    policy: Path, tmp_path: Path, chromium: str
) -> None:
    page = tmp_path / "report.html"
    arguments = ["eval", str(policy), "--task", TASK.name, "--episodes", "1", "--workers", "1"]
    done = CliRunner().invoke(
        build_app(), [*arguments, "--latency-ms", "0,50", "-o", str(page), "--json"]
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [item["latency_ms"] for item in document["by_latency"]] == [0.0, 50.0]
    first = document["by_latency"][0]
    assert {key: document[key] for key in first} == first
    assert document["trained_on"] == "metaworld/door-open"
    assert f"warning: trained on metaworld/door-open, evaluated on {TASK.name}." in done.stderr
    html = page.read_text()
    assert html.count("<circle") == 2 and "Trained on metaworld/door-open." in html
    assert "<script" not in html and "http" not in html
    require_readable(chromium, page, tmp_path)


@pytest.mark.parametrize("text", ["", "0,", "a", "50,50"])
def test_latencies_that_are_no_list_are_refused(policy: Path, text: str) -> None:
    arguments = ["eval", str(policy), "--task", TASK.name, "--latency-ms", text, "--json"]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 1 and "expected different numbers" in json.loads(done.stdout)["error"]


def test_a_film_shows_every_step_and_how_it_ended(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imageio = pytest.importorskip("imageio.v2")
    pytest.importorskip("imageio_ffmpeg")
    from ofp_edge.sim.metaworld import MetaWorld as World

    def frame(self: World) -> np.ndarray:  # a world's own picture is taken, and needs no OpenGL
        return np.full((48, 64, 3), 128, np.uint8)

    monkeypatch.setattr(World, "frame", frame, raising=False)
    path, job = tmp_path / "film.mp4", Job(policy, TASK.name)
    (episode,) = film(job, [1_000_000], path)
    assert [episode] == run_episodes(job, [1_000_000], workers=1) and not episode.success
    with imageio.get_reader(path) as reader:
        pictures = [picture for picture in reader]  # its length is unknown: no list()
        assert reader.get_meta_data()["fps"] == TASK.control_hz
    assert len(pictures) == episode.steps + 1 + TASK.control_hz
    assert np.ptp(pictures[0][2, 2]) < 40  # grey
    red, green, _ = (int(x) for x in pictures[-1][2, 2])
    assert red > 150 > green
    with pytest.raises(OutputExists):
        check_video(path, force=False)
    with pytest.raises(OfpError, match="ends in .mp4"):
        check_video(tmp_path / "film.avi", force=False)
    assert [x.name for x in tmp_path.iterdir()] == ["film.mp4"]


def test_a_task_without_a_picture_is_told_and_leaves_no_file(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ofp_edge.evaluate import video

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(video, "_filmed", stop)
    with pytest.raises(KeyboardInterrupt):
        film(Job(policy, TASK.name), [1_000_000], tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())

    class Blind:
        task = TASK

    with pytest.raises(OfpError, match="has no picture to film"):
        with video._picture(Blind()):
            pass


def test_mujoco_draws_the_picture() -> None:
    from ofp_edge.evaluate.video import _picture
    from ofp_edge.sim.gl import choose_depth_by
    from ofp_edge.sim.metaworld import MetaWorld as World

    if choose_depth_by() == "rays":
        absent("no OpenGL: sudo apt-get install -y libosmesa6")
    with _picture(World(TASK)) as look:
        picture = look()
    assert picture.shape == (360, 480, 3) and picture.std() > 20


def test_green_is_success_and_the_picture_stays_as_it_was() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    done = framed(picture, True)
    assert done[0, 0].argmax() == 1 and not done[20, 30].any() and not picture.any()
