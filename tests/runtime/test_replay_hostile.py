"""A replay of a log that no run wrote: one line, whatever its header and rows hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ofp_edge.errors import EngineError, OfpError
from ofp_edge.runtime.control.heard import from_row
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.log.rows import made_of
from ofp_edge.runtime.log.telemetry import array_from_json
from ofp_edge.runtime.replay import replay
from tests.runtime.test_loop import Stand
from tests.runtime.test_replay import fresh, run

ARRAY = {"dtype": "<f4", "shape": [1], "data": "AAAAAA=="}
WHOLE, SMALL = 2**63, 2**62
ROWS: list[tuple[str, str, Any]] = [
    ("/event", "what", 3),
    ("/observation", "t_obs_ns", "7"), ("/observation", "t_obs_ns", WHOLE),
    ("/observation", "t_obs_ns", -5), ("/observation", "inputs", []),
    ("/observation", "inputs", {}), ("/observation", "inputs", {"state": None}),
    ("/observation", "inputs", {"state": ARRAY}),
    ("/plan", "t_obs_ns", None), ("/plan", "t_obs_ns", -SMALL), ("/plan", "chunk", "x"),
    ("/plan", "refined", 1), ("/plan", "refined", True), ("/plan", "warm_from_ns", 0.5),
    ("/plan", "chunk", {**ARRAY, "dtype": "O"}), ("/plan", "chunk", {**ARRAY, "shape": [10**15]}),
    ("/plan", "chunk", {**ARRAY, "data": "!"}),
    ("/command", "tick_ns", "now"), ("/command", "heard", None), ("/command", "heard", [3]),
    ("/command", "heard", [{}]), ("/command", "heard", [{"event": "dance"}]),
    ("/command", "heard", [{"event": "episode"}]),
    ("/command", "heard", [{"event": "stop"}]),
    ("/command", "heard", [{"event": "planning", "t_ns": 1}]),
    ("/command", "heard", [{"event": "chunk", "t_obs_ns": [1]}]),
    ("/command", "heard", [{"event": "state", "t_ns": 10**400, "values": {}}]),
    ("/command", "heard", [{"event": "state", "t_ns": [], "values": {}}]),
    ("/command", "heard", [{"event": "state", "t_ns": 1, "values": {"\x1b[2J": 1}}]),
    ("/command", "index", "1"), ("/command", "misses", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogReader:
    path = tmp_path_factory.mktemp("log") / "run.mcap"
    run(path, seconds=0.6)
    return LogReader(path)


def with_rows(log: LogReader, rows: list[tuple[str, Any]]) -> LogReader:
    other = copy.copy(log)
    other.rows = lambda *topics, **_: (  # type: ignore[method-assign]
        (t, row) for t, row in rows if t in topics
    )
    return other


@pytest.mark.parametrize(("topic", "key", "value"), ROWS)
def test_a_row_of_another_form_is_one_line(
    log: LogReader, topic: str, key: str, value: Any
) -> None:
    rows = [(t, dict(row)) for t, row in log.rows()]
    for t, row in rows:
        if t == topic:
            row[key] = value
    if key == "refined" and value is True:  # of a scheme without a refining step
        assert topic == "/plan"
    with pytest.raises(OfpError, match=topic) as caught:
        replay(with_rows(log, rows), fresh())
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_a_row_without_an_entry_names_it(log: LogReader) -> None:
    for topic, key in (("/plan", "chunk"), ("/command", "heard"), ("/observation", "inputs")):
        rows = [(t, {k: x for k, x in row.items() if (t, k) != (topic, key)})
                for t, row in log.rows()]  # fmt: skip
        with pytest.raises(OfpError, match=f"{topic}, row .*{key}.*missing"):
            replay(with_rows(log, rows), fresh())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spec", 3), ("safety", None), ("safety", {"limits": {"move": {"max_velocity": "1"}}}),
        ("safety", {"limits": {"move": {"max_velocity": -1.0}}}), ("safety", {"also": 1}),
        ("safety", {"max_state_age_ms": 1e308}), ("safety", {"max_cut_in_a_row": 0}),
        ("safety", {"workspace": {"measured": "none", "low": [0], "high": [1]}}),
        ("latency_ms", 1e308), ("latency_ms", "1"), ("max_plan_age_ms", -1.0),
        ("cross_fade_steps", 10**18), ("refine_first_ns", "soon"),
    ],
)  # fmt: skip
def test_a_header_that_no_run_had_is_one_line(log: LogReader, key: str, value: Any) -> None:
    other = copy.copy(log)
    other.header = {**log.header, key: value}
    with pytest.raises(OfpError) as caught:
        replay(other, fresh())
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


MADE = {
    "bundle_sha256": "", "engine": "onnxruntime", "precision": "fp32", "seed": 0, "nfe": 1,
    "guard": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    "entry", [{"seed": -1}, {"seed": 1.5}, {"nfe": "many"}, {"nfe": True}, {"engine": None},
              {"threads": "2"}, {"guard": None}]
)  # fmt: skip
def test_what_made_the_chunks_is_typed(entry: dict[str, Any]) -> None:
    assert made_of(MADE, "x").threads == 1
    with pytest.raises(OfpError, match=f"x: its header.*{next(iter(entry))}"):
        made_of({**MADE, **entry}, "x")


def test_a_stamp_that_stopped_the_run_is_heard_again_as_it_was() -> None:
    """A driver may have said anything: the state machine judged it, and the log tells."""
    state = {"event": "state", "t_ns": "{1, 2}", "values": {}}
    event: Any = from_row(state, lambda *_: pytest.fail("no chunk"))
    assert event.state.t_ns == "{1, 2}" and event.read_ns is None


@pytest.mark.parametrize("value", [None, 3, [], {}, {**ARRAY, "dtype": ["<f4"]},
                                   {**ARRAY, "shape": "1"}, {**ARRAY, "shape": [0, 2**60, 2**60]},
                                   {**ARRAY, "dtype": "<U1"}])  # fmt: skip
def test_an_array_that_is_none_is_one_line(value: Any) -> None:
    assert array_from_json(ARRAY).tobytes() == bytes(4)
    with pytest.raises(OfpError, match="an array of a log"):
        array_from_json(value)


def test_an_engine_that_fails_at_run_time_stops_the_robot_with_one_line() -> None:
    stand = Stand()
    answer, calls = stand.act.function, []

    def fails(*buffers: Any) -> None:
        calls.append(1)
        if len(calls) > 3:
            raise EngineError("onnxruntime failed while it computed: Gather: indices.")
        answer(*buffers)

    stand.act.function = fails
    with pytest.raises(EngineError, match="while it computed"):
        stand.loop.run(Limits(duration_s=3.0))
    assert stand.robot.stops and stand.robot.sent and len(calls) == 4
