"""The page of a dataset: what it shows, what it escapes, how large it may become."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

import ofp_edge.data.judge as judging
from ofp_edge.data.judge import Judged, judge
from ofp_edge.data.layouts import open_source
from ofp_edge.data.mapping import Entry
from ofp_edge.data.page import render
from ofp_edge.data.page.names import drawn_fields
from ofp_edge.data.source import Key, Source
from ofp_edge.report.html import page as html_page
from tests.data.foreign import FIXTURES
from tests.data.made import Arrays, joined, path, switch
from tests.data.test_glitches import glitched, write
from tests.data.test_guess_actions import file_of
from tests.rendering import opened, require_readable

NAMES = "a[/b]<script>alert('x')</script>&"


@pytest.fixture(scope="module")
def lerobot() -> str:
    return render(judge(FIXTURES / "lerobot-v3.0"), Path("page.html"))


def test_a_fixture_s_page_has_all_of_it(lerobot: str) -> None:
    for words in (
        "trainable, 1 thing to look at", "34, 9 to 14 an episode",
        "20 Hz", "follow the disc (3 episodes)", "<li id='odd-1'>observation.state: constant",
        "observation.images.wrist: rgb rgb_wrist · of 48 x 64, RGB", "episode 1, 9 frames",
        "13 · 0.65 s<br>stamp 0.6500 s", "action action, absolute · action",
        "action[0], over state[0]", "stroke-dasharray", "bookkeeping, not what a robot measures",
        "[[observation]]", "98 % from",
    ):  # fmt: skip
        assert words in lerobot, words
    assert lerobot.count("<img ") == 2 * 3 * 8
    assert "action[1], over state[1]" in lerobot and "gripper, over state[3]" in lerobot


@pytest.mark.parametrize(
    ("unit", "scale", "said"),
    [("m", 0.04, ", 1 = 0.04 m"), ("1", 0.5, ", 1 = 0.5"), ("m", 1.0, ", m"), ("1", 1.0, "")],
)
def test_an_action_is_drawn_in_multiples_of_its_scale(unit: str, scale: float, said: str) -> None:
    found = judge(FIXTURES / "lerobot-v3.0")
    assert found.mapping is not None
    stated = {"name": "hand", "kind": "delta", "unit": unit, "scale": scale}
    mapping = replace(found.mapping, actions=(Entry("action", stated, (0, 2)),))
    hand = drawn_fields(replace(found, mapping=mapping))[0]
    assert hand.dimension(found.source, 1) == f"hand[1]{said}"


def test_images_are_those_that_training_reads(lerobot: str) -> None:
    data = re.findall(r"frame 13' src='data:image/jpeg;base64,([^']+)'", lerobot)
    shown = imagecodecs.jpeg_decode(base64.b64decode(data[0])).astype(int)
    recorded = open_source(FIXTURES / "lerobot-v3.0").read("observation.images.front", 0)
    off = [np.abs(shown - frame).mean() for frame in recorded.astype(int)]
    assert shown.shape == (48, 64, 3) and int(np.argmin(off)) == 13 and min(off) < 6


def test_a_page_asks_for_nothing_from_elsewhere(
    lerobot: str, chromium: str, tmp_path: Path
) -> None:
    assert not re.search(r"(https?:)?//\w", re.sub(r"base64,[^']+", "", lerobot))
    assert not re.search(r"<(link|script|iframe|object)|@import|url\(", lerobot)
    assert set(re.findall(r"src='(.{15})", lerobot)) == {"data:image/jpeg"}
    page = tmp_path / "page.html"
    page.write_text(lerobot, encoding="utf-8")
    dom, hosts = opened(chromium, page, tmp_path)
    require_readable(chromium, page, tmp_path)
    assert "What each key is taken for" in dom and dom.rstrip().endswith("</html>") and not hosts


def judged(source: Source, monkeypatch: pytest.MonkeyPatch) -> Judged:
    monkeypatch.setattr(judging, "open_source", lambda path, filter_key=None: source)
    return judge(source.path)


def test_text_from_files_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((3, 24, 16, 16, 3), np.uint8)
    values = {"state": path(3), "action": path(3), NAMES: path(2), f"{NAMES}/rgb": image}
    names = {"state": (NAMES, "b", "c"), "action": (NAMES, "b", "c")}
    source = Arrays(
        values, names=names, robot=NAMES, task=NAMES, tasks=(NAMES, None, NAMES), notes=(NAMES,),
        left={NAMES + "2": NAMES}, path=Path(NAMES),
    )  # fmt: skip
    text = render(judged(source, monkeypatch), Path("page.html"))
    assert "<script" not in text and "&lt;script&gt;" in text
    assert f"over state: {NAMES}".replace("<", "&lt;")[:14] in text
    plain = html_page("x", [])
    assert text.count("<style>") == plain.count("<style>")


def test_a_refused_guess_says_what_to_write(tmp_path: Path) -> None:
    file = file_of(tmp_path, joined(path(6, away=1.5), switch(-1, 1)))
    text = render(judge(file), tmp_path / "page.html")
    assert "cannot be trained as it is" in text and "class='verdict refused'" in text
    assert "<pre>action = [{" in text and "kind = &quot;?&quot;" in text
    assert "source = &quot;set.hdf5&quot;" in text  # beside the page


def test_a_glitch_is_marked_and_linked(tmp_path: Path) -> None:
    made = write(tmp_path / "d.zarr", action=glitched())
    text = render(judge(made), tmp_path / "page.html")
    number = re.search(r"<li id='odd-(\d+)'>action\[0\]: jump of 100", text)
    assert number is not None and f"<a href='#odd-{number[1]}'>glitch: 1 frames</a>" in text
    row = next(x for x in text.split("<tr>") if x.startswith("<td>action[0]"))
    assert "<circle" in row and ">-100<" in row


class Large(Source):
    """1,000 episodes, 50 dimensions, 8 cameras; counts what is read."""

    layout, path, rates_hz, lengths = "large", Path("large"), (10.0,), (12,) * 1000

    def __init__(self) -> None:
        self.keys = {"action": Key((50,), "float32"), "state": Key((50,), "float32")}
        self.keys |= {f"camera_{i}": Key((96, 128, 3), "uint8") for i in range(8)}
        self.images = 0
        rng = np.random.default_rng(0)
        self._numbers = rng.uniform(-1, 1, (12, 50)).astype(np.float32)
        self._frames = rng.integers(0, 255, (12, 96, 128, 3), np.uint8)

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        if not key.startswith("camera"):
            yield self._numbers
            return
        self.images += 12
        yield self._frames

    def sha256(self) -> str:
        raise AssertionError("hashed")


def test_a_large_set_has_a_small_page_and_few_images_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Large()
    found = judged(source, monkeypatch)
    text = render(found, Path("page.html"))
    assert len(text) < 3_000_000  # of noise, which JPEG does not shrink
    assert text.count("<img ") == 8 * 3 * 8 and "1000 episodes, 12000 frames" in text
    assert source.images <= 8 * 12 * (8 + 8 + 3)  # survey, trial, strips
    assert "4 of its dimensions are not drawn" in text


def test_what_cannot_be_drawn_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = path(5)
    odd[..., 0], odd[..., 1], odd[..., 2] = np.nan, 0.0, 1e-310
    odd[0, 3, 3], odd[1, 4, 3], odd[..., 4] = np.inf, -1e300, 1e30
    text = render(judged(Arrays({"state": odd, "action": odd}), monkeypatch), Path("p.html"))
    assert "nan" not in "".join(re.findall(r"<polyline[^>]*>", text))
    assert "no finite number" in text
