"""A layout for Foxglove: the log's numbers by name, each camera's pictures, and the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofp_edge.runtime.log.numbers import PLAN, TICK
from ofp_edge.spec import PolicySpec

_LINES_A_PLOT = 8


def layout(
    spec: PolicySpec, names: Mapping[str, Sequence[str]], cameras: Sequence[str]
) -> dict[str, Any]:
    """Return the layout as plain JSON: plots of each action (wanted and sent) and state, one of the
    latencies, a picture a camera."""
    panels: dict[str, dict[str, Any]] = {}
    plots = []
    for action in spec.actions:
        for part in _parts(names[action.name]):
            paths = [
                (f"{TICK}.{kind}.{_step(action.name)}.{_step(name)}", f"{name} {kind}")
                for name in part
                for kind in ("wanted", "sent")
            ]
            plots.append(_plot(panels, action.name, paths))
    for state in spec.states:
        for part in _parts(names[state.name]):
            paths = [(f"{TICK}.state.{_step(state.name)}.{_step(x)}", x) for x in part]
            plots.append(_plot(panels, state.name, paths))
    times = [
        (f"{PLAN}.capture_to_ready_ms", "capture to ready, ms"),
        (f"{PLAN}.spare_ms", "spare, ms"),
        (f"{TICK}.plan_age_ms", "plan age, ms"),
    ]
    plots.append(_plot(panels, "latency", times))
    pictures = []
    for number, camera in enumerate(cameras):
        key = f"Image!camera{number}"
        panels[key] = {"imageMode": {"imageTopic": f"/thumbnail/{camera}"},
                       "foxglovePanelTitle": camera}  # fmt: skip
        pictures.append(key)
    panels["RawMessages!events"] = {"topicPath": "/event", "diffEnabled": False}
    side = _stacked([*pictures, "RawMessages!events"], "column")
    return {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": {"first": _stacked(plots, "column"), "second": side, "direction": "row",
                   "splitPercentage": 70},
    }  # fmt: skip


def _plot(panels: dict[str, dict[str, Any]], title: str, paths: Sequence[tuple[str, str]]) -> str:
    key = f"Plot!plot{len(panels)}"
    panels[key] = {
        "paths": [
            {"value": path, "enabled": True, "timestampMethod": "receiveTime", "label": label}
            for path, label in paths
        ],
        "showXAxisLabels": True,
        "showYAxisLabels": True,
        "showLegend": True,
        "legendDisplay": "left",
        "isSynced": True,
        "xAxisVal": "timestamp",
        "sidebarDimension": 200,
        "foxglovePanelTitle": title,
    }
    return key


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[i : i + _LINES_A_PLOT] for i in range(0, len(names), _LINES_A_PLOT)]


def _step(name: str) -> str:
    """A step of a message path: names with other signs than a word's are quoted."""
    plain = name.replace("_", "a").isalnum() and name.isascii() and not name[0].isdigit()
    return name if plain else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _stacked(keys: Sequence[str], direction: str) -> Any:
    """Panels beside or above one another, in equal parts: a tree of halves."""
    if len(keys) == 1:
        return keys[0]
    share = 100 / len(keys)
    return {
        "first": keys[0],
        "second": _stacked(keys[1:], direction),
        "direction": direction,
        "splitPercentage": round(share, 2),
    }
