"""Film episodes: the simulator's own picture, framed green or red at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.evaluate.episode import Episode, Evaluator, Job
from ofp_edge.extras import require
from ofp_edge.files import check_output_file, new_file

_WIDTH, _HEIGHT, _BORDER = 480, 360, 8
_GREEN, _RED = (46, 160, 67), (207, 34, 46)
_LAST_S = 1.0
Picture = NDArray[np.uint8]


def check_video(path: Path, *, force: bool) -> None:
    """Refuse before the work: an existing path, a format other than MP4, a missing extra."""
    if path.suffix != ".mp4":
        raise OfpError(f"--video {path}: expected a name that ends in .mp4.")
    check_output_file(path, force=force)
    require("imageio", "video")
    require("imageio_ffmpeg", "video")


def film(job: Job, seeds: Sequence[int], path: Path) -> list[Episode]:
    """Film these episodes once more, one after another, into an MP4 at the control rate.

    Each ends with a second of its last picture: framed green, it succeeded; red, it failed.
    Raises OfpError where a task has no picture.
    """
    evaluator = Evaluator(job)
    try:
        with _picture(evaluator.simulator.world) as look, _writer(path, evaluator) as add:
            return [_filmed(evaluator, seed, look, add) for seed in seeds]
    finally:
        evaluator.close()


def _filmed(
    evaluator: Evaluator, seed: int, look: Callable[[], Picture], add: Callable[[Picture], None]
) -> Episode:
    episode = evaluator.run(seed, watch=lambda: add(look()))
    last = framed(look(), episode.success)
    for _ in range(round(_LAST_S * evaluator.spec.control_hz)):
        add(last)
    return episode


def framed(picture: Picture, success: bool) -> Picture:
    """Frame (H, W, 3) RGB with a border: green for success, red for failure; a new array."""
    edge = np.ones(picture.shape[:2], dtype=bool)
    edge[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    done = picture.copy()
    done[edge] = _GREEN if success else _RED
    return done


@contextmanager
def _picture(world: Any) -> Iterator[Callable[[], Picture]]:
    """What draws the world as it is now: its own `frame`, or its renderer."""
    if hasattr(world, "frame"):
        yield world.frame
        return
    from ofp_edge.sim.render import open_renderer
    from ofp_edge.sim.world import SeenWorld

    if not isinstance(world, SeenWorld):
        raise OfpError(f"--video: {world.task.name} has no picture to film.")
    first = next(iter(world.task.views.values()))
    renderer = open_renderer(world, replace(first, width=_WIDTH, height=_HEIGHT))
    if renderer.by == "rays":
        raise OfpError("--video needs OpenGL. Run: sudo apt-get install -y libosmesa6")

    def look() -> Picture:
        color = renderer.render(True)[1]
        assert color is not None
        return color

    try:
        yield look
    finally:
        renderer.close()


@contextmanager
def _writer(path: Path, evaluator: Evaluator) -> Iterator[Callable[[Picture], None]]:
    """Appends pictures to a file that takes its name when it is whole."""
    imageio = require("imageio.v2", "video")
    with new_file(path, suffix=path.suffix) as partial:
        writer = imageio.get_writer(
            partial, format="FFMPEG", fps=evaluator.spec.control_hz, macro_block_size=8
        )
        try:
            yield writer.append_data
        finally:
            writer.close()
