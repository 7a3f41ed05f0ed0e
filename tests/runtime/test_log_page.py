"""A log that people look at: numbers by name beside the exact bytes, a layout, and a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from ofp_edge.errors import OfpError
from ofp_edge.fields import State
from ofp_edge.report.png import png, shown
from ofp_edge.runtime.log.numbers import PLAN, TICK, Numbers, names_in
from ofp_edge.runtime.log.page import thinned
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.log.story import read_story
from ofp_edge.runtime.log.telemetry import McapLog, array_from_json
from ofp_edge.spec import ActionField, PolicySpec
from tests.rendering import require_readable
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.runtime.still import RIG
from tests.runtime.test_telemetry import plan_row, rows_of
from tests.synthetic import CAMERA

OLD = Path(__file__).parents[1] / "fixtures/version-0.1/logs"
ENDS = (-100.0,) * 2, (100.0,) * 2
SPEC = PolicySpec(
    (State("state", (2,), "deg", "base", *ENDS),),
    (ActionField("arm", (2,), "deg", "base", "absolute", 1.0, *ENDS),),
    1, 8, 4, 20.0,
)  # fmt: skip
NAMES = names_in(SPEC, ("shoulder", "wrist roll"))


def command(k: int, **others: Any) -> dict[str, Any]:
    state = np.array([k, -k], np.float32)
    return {
        "tick_ns": k * 50_000_000, "woke_ns": k * 50_000_000 + 90_000, "sent_ns": 0, "kind": "act",
        "reason": "", "t_obs_ns": k * 50_000_000 - 30_000_000, "index": 1.0,
        "action": state + np.float32(0.1), "wanted": state * 2, "cut": ["arm: velocity"] * (k % 2),
        "sent": True, "plan_ordered": False, "misses": k // 10,
        "heard": [{"event": "state", "t_ns": 1, "values": {"state": state}}], **others,
    }  # fmt: skip


def written(path: Path, rows: list[dict[str, Any]], **header: Any) -> Path:
    about = {"spec": SPEC.to_json(), "safety": {}, "latency_ms": 40.0, "max_plan_age_ms": 300.0,
             "cross_fade_steps": 2, "refine_first_ns": None, "names": NAMES, **header}  # fmt: skip
    log = McapLog(path, about, numbers=Numbers(SPEC, NAMES))
    log.write("/event", 0, t_ns=0, what="episode", detail="seed <b>0</b>", episode=0)
    for row in rows:
        log.write("/command", row["tick_ns"], **row)
        chunk = np.full((8, 2), row["tick_ns"] / 1e9, np.float32)
        stamps = {"t_obs_ns": row["tick_ns"], "ready_ns": row["tick_ns"] + 20_000_000,
                  "due_ns": row["tick_ns"] + 40_000_000, "act_ns": 5_000_000}  # fmt: skip
        log.write("/plan", row["tick_ns"], **{**plan_row(chunk), **stamps})
    log.close()
    assert log.lost == 0 and not log.trouble
    return path


def test_numbers_stand_by_name_beside_the_exact_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "run.mcap", [command(k) for k in range(30)])
    rows = rows_of(path)  # holds each row against the schema that the file declares
    assert len(rows[TICK]) == len(rows["/command"]) == 30 and len(rows[PLAN]) == 30
    for exact, drawn in zip(rows["/command"], rows[TICK], strict=True):
        sent = array_from_json(exact["action"])
        assert list(drawn["sent"]["arm"]) == ["shoulder", "wrist roll"]
        np.testing.assert_allclose(list(drawn["sent"]["arm"].values()), sent, rtol=1e-6)
        assert drawn["state"]["state"]["shoulder"] == drawn["t_ns"] / 50_000_000
        assert (drawn["wake_up_us"], drawn["plan_age_ms"]) == (90.0, 30.0)
        assert drawn["cuts"] == len(exact["cut"])
    assert rows[PLAN][3] == {
        "t_ns": 150_000_000, "capture_to_ready_ms": 20.0, "spare_ms": 20.0, "act_ms": 5.0,
        "evaluations": 1,
    }  # fmt: skip


def test_the_quick_way_writes_what_the_plain_one_does() -> None:
    names = {"state": ["a %d", 'b"c'], "arm": ["x", "y"]}
    made = Numbers(SPEC, names)
    for k in (0, 1, 123_456_789):
        quick = made._quickly(command(k))
        assert quick is not None and json.loads(quick) == made._tick(command(k))
    assert made._quickly(command(1, wanted=np.array([np.inf, 0], np.float32))) is None
    assert made._quickly(command(1, sent=False)) is None


@pytest.mark.parametrize("said", [None, {1, 2}, np.array([np.nan, np.inf]), np.zeros(5), "no"])
def test_whatever_a_driver_says_leaves_a_gap_and_no_hole(tmp_path: Path, said: Any) -> None:
    odd = [{"event": "state", "t_ns": 1, "values": {} if said is None else {"state": said}}]
    rows = rows_of(written(tmp_path / "run.mcap", [command(1), command(2, heard=odd, action=None)]))
    assert rows[TICK][1]["state"]["state"] == {"shoulder": None, "wrist roll": None}
    assert rows[TICK][1]["sent"]["arm"] == {"shoulder": None, "wrist roll": None}
    assert rows[TICK][0]["state"]["state"]["shoulder"] == 1.0


def test_names_are_the_robot_s_joints_a_place_s_axes_or_numbers() -> None:
    place = State("hand", (3,), "m", "base", (0.0,) * 3, (1.0,) * 3)
    spec = PolicySpec((place, *SPEC.observations), SPEC.actions, 1, 8, 4, 20.0)
    assert names_in(spec, ["a", "b"]) == {
        "hand": ["x", "y", "z"], "state": ["a", "b"], "arm": ["a", "b"],
    }  # fmt: skip
    assert names_in(spec, ["a", "a"])["arm"] == names_in(spec, None)["arm"] == ["x0", "x1"]


class Tags(HTMLParser):
    """What a page would fetch, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and not str(value).startswith(("data:", "#")):
                self.outside.append(str(value))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def ran(*words: Any, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(build_app(), ["log", *map(str, words), "--json"])
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_what_a_driver_says_never_costs_the_log_its_rows(tmp_path: Path) -> None:
    """Whatever can't be drawn is left out of the numbers; the exact rows go on."""
    odd: list[dict[str, Any]] = [
        {"t_obs_ns": np.int64(7)}, {"t_obs_ns": "soon"}, {"heard": 3}, {"woke_ns": None},
        {"heard": [{"event": "state", "t_ns": 1, "values": [1, 2]}]}, {"action": object()},
    ]  # fmt: skip
    log = McapLog(tmp_path / "run.mcap", {}, numbers=Numbers(SPEC, NAMES))
    for k, change in enumerate(odd):
        log.write("/command", k, **command(k, **change))
        stamps = {"t_obs_ns": np.int64(k), "ready_ns": k, "due_ns": "late", "act_ns": 5}
        log.write("/plan", k, **{**plan_row(np.zeros((8, 2), np.float32)), **stamps})
    log.write("/command", 99, **command(99))
    log.close()
    rows = rows_of(tmp_path / "run.mcap")
    assert (log.lost, log.trouble) == (0, "") and len(rows["/command"]) == len(odd) + 1
    assert len(rows["/plan"]) == len(odd) and rows[TICK][-1]["cuts"] == 1


@pytest.mark.parametrize("joints", [print, 3, iter("ab"), [1, 2], [[], []], ["a", "a"], ["a"]])
def test_joint_names_that_are_none_give_way_to_numbers(joints: Any) -> None:
    assert names_in(SPEC, joints) == {"state": ["x0", "x1"], "arm": ["x0", "x1"]}


def test_the_fault_after_the_last_tick_belongs_to_the_run_s_end(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    about = {"spec": SPEC.to_json(), "safety": {}, "latency_ms": 40.0, "max_plan_age_ms": 300.0,
             "cross_fade_steps": 2, "refine_first_ns": None, "names": NAMES}  # fmt: skip
    log = McapLog(path, about, numbers=Numbers(SPEC, NAMES))
    for k in range(60):
        row = command(k)
        if k == 59:  # what the driver said that the run was stopped for
            row["heard"] = [{"event": "state", "t_ns": 1, "values": {"state": [1.0, "hot"]}}]
        log.write("/command", row["tick_ns"], **row)
    log.write("/event", 1, t_ns=60 * 50_000_000, what="fault", detail="joint 3 hot", episode=0)
    log.close()
    assert ran(path)["faults"] == ran(path, "--from", 2)["faults"] == ["joint 3 hot"]
    assert ran(path, "--to", 2)["faults"] == []


def test_a_page_shows_a_run_and_fetches_nothing(tmp_path: Path, chromium: str) -> None:
    path = written(tmp_path / "run.mcap", [command(k) for k in range(200)])
    document = ran(path, "-o", tmp_path / "run.html", "--foxglove", tmp_path / "layout.json")
    assert (document["ticks"], document["limited"], document["plans"]) == (200, 100, 200)
    assert document["cuts"] == {"arm: velocity": 100} and document["whole"]
    require_readable(chromium, tmp_path / "run.html", tmp_path)
    text = (tmp_path / "run.html").read_text()
    tags = Tags()
    tags.feed(text)
    assert not tags.outside and not tags.open
    assert "<script" not in text and "seed &lt;b&gt;0" in text and "prefers-color-scheme" in text
    for word in ("wrist roll", "wanted", "sent", "state", "plans", "capture to ready",
                 "arm: velocity", "100 · 50 %"):  # fmt: skip
        assert word in text, word
    panels = json.loads((tmp_path / "layout.json").read_text())["configById"]
    paths = [x["value"] for panel in panels.values() for x in panel.get("paths", ())]
    assert f'{TICK}.sent.arm."wrist roll"' in paths and f"{TICK}.state.state.shoulder" in paths
    assert f"{PLAN}.capture_to_ready_ms" in paths


def test_a_part_of_a_run_is_counted_and_drawn_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "run.mcap", [command(k) for k in range(200)])
    part = ran(path, "--from", 2, "--to", 3)
    assert (part["ticks"], part["limited"], part["cuts"]) == (21, 10, {"arm: velocity": 10})
    assert (
        "no tick lies between 40 s and 50 s: the run takes 9.95 s"
        in ran(path, "--from", 40, "--to", 50, code=1)["error"]
    )
    assert "expected 0 <= from <= to" in ran(path, "--from", 3, "--to", 2, code=1)["error"]


@pytest.mark.parametrize("name", ["planar", "points"])
def test_an_old_log_has_a_page_too(name: str, tmp_path: Path) -> None:
    document = ran(OLD / name, "-o", tmp_path / "old.html")
    assert document["ticks"] > 20 and document["plans"] > 2
    text = (tmp_path / "old.html").read_text()
    assert ("data:image/png;base64," in text) == (name == "points")


def test_a_run_s_log_is_drawn_and_replays_the_same(tmp_path: Path) -> None:
    spec = make_spec(points=True, horizon=100, n_action_steps=2)
    bundle = write_small_bundle(tmp_path / "small", spec, {"front": CAMERA})
    rig, log = tmp_path / "rig.toml", tmp_path / "run.mcap"
    rig.write_text(RIG)
    words = ["run", bundle, "--rig", rig, "--duration", 1.5, "--log", log, "--json"]
    result = CliRunner().invoke(build_app(), [str(x) for x in words])
    assert json.loads(result.stdout)["log_rows_lost"] == 0, result.output
    reader = LogReader(log)
    ticks = [row for _, row in reader.rows("/command")]
    drawn = [row for _, row in reader.rows("/numbers/") if "sent" in row]
    assert [x["t_ns"] for x in drawn] == [x["tick_ns"] for x in ticks] and len(ticks) > 10
    again = CliRunner().invoke(build_app(), ["replay", str(log), "--bundle", str(bundle), "--json"])
    assert json.loads(again.stdout)["same"], again.stdout
    story = read_story(log)
    assert len(story.t_s) == len(ticks) and np.isfinite(story.sent).any() and story.pictures


def test_a_picture_of_a_stranger_is_refused_in_a_line(tmp_path: Path) -> None:
    log = McapLog(tmp_path / "run.mcap", json.loads(json.dumps({
        "spec": SPEC.to_json(), "safety": {}, "latency_ms": 40.0, "max_plan_age_ms": 300.0,
        "cross_fade_steps": 2, "refine_first_ns": None})))  # fmt: skip
    log.write("/command", 0, **command(0))
    log.write("/thumbnail/front", 0, timestamp={"sec": 0, "nsec": 0}, frame_id="front",
              width=1 << 20, height=1 << 20, encoding="rgb8", step=3, data=b"123")  # fmt: skip
    log.close()
    with pytest.raises(OfpError, match="/thumbnail/front: expected a small picture"):
        read_story(tmp_path / "run.mcap")


def test_a_line_keeps_its_peaks_when_it_is_thinned() -> None:
    x, y = np.arange(10_000) / 100, np.sin(np.arange(10_000) / 50)
    y[4321], y[7777] = 9.0, -9.0
    points = thinned(x, y, 700)
    assert len(points) <= 700
    assert (43.21, 9.0) in points and (77.77, -9.0) in points
    assert [p[0] for p in points] == sorted(p[0] for p in points)


def test_a_png_is_one(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    back = cv2.imdecode(np.frombuffer(png(picture), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(back[..., ::-1], picture)
    depth = np.array([[0, 500], [900, 1500]], np.uint16)
    grey = shown(depth)
    assert grey[0, 0] == 0 and grey[0, 1] > grey[1, 0] > grey[1, 1] >= 40
    assert re.match(rb"\x89PNG", png(grey))
