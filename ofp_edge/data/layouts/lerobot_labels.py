"""What LeRobot's meta/ calls things: dimensions, tasks, the robot, and rates that it states twice.

features.<key>.names    a list, lists in it, one text, {"motors": [...]}, {"axes": ...} or
                        {name: number}
meta/tasks.parquet      task_index, and the text in a column or as pandas' index; v2.1: tasks.jsonl
episodes' `tasks`       the texts themselves
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ofp_edge.data.layouts.lerobot_files import json_lines, parquet_rows
from ofp_edge.data.layouts.lerobot_meta import Info

_NO_ROBOT = ("", "none", "null", "unknown")
_LONGEST, _MOST_TASKS = 200, 10**5
_SAME_RATE = 1e-3


def robot_of(info: Info) -> str | None:
    """Return the type of robot, if it is stated."""
    kind = info.robot_type
    named = isinstance(kind, str) and kind.strip().lower() not in _NO_ROBOT
    return kind.strip()[:_LONGEST] if named else None


def names_of(info: Info) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return by key the names of its dimensions where they are as many, and what is odd in them."""
    found, odd = {}, []
    for key, feature in info.features.items():
        if len(feature.shape) != 1 or feature.names is None:
            continue
        names, width = _flat(feature.names), feature.shape[0]
        if len(names) == 1 and width > 1:
            names = [x.strip() for x in names[0].split(",")]
        if len(names) == width and len(set(names)) == width:
            found[key] = tuple(names)
        elif names and (width > 1 or len(names) > 1):
            odd.append(
                f"{key}: features.names has {len(names)} names for {width} dimensions: not used"
                if len(names) != width
                else f"{key}: features.names has a name twice: not used"
            )
    return found, odd


def odd_rates(info: Info) -> list[str]:
    """Say where a feature states another rate than the set."""
    odd = []
    for key, feature in info.features.items():
        inside = [x for x in (feature.info, feature.video_info) if isinstance(x, dict)]
        rates = [feature.fps, *(x.get(y) for x in inside for y in ("video.fps", "fps"))]
        for rate in rates:
            plain = isinstance(rate, (int, float)) and not isinstance(rate, bool)
            if plain and abs(rate / info.fps - 1) > _SAME_RATE:
                odd.append(
                    f"{key}: meta/info.json states {rate:g} Hz for it and {info.fps:g} for the set"
                )
                break
    return odd


def read_tasks(path: Path, version: str) -> dict[int, str]:
    """Return the text of each task by its number, {} where there is no list of them."""
    file = path / "meta" / ("tasks.parquet" if version == "v3.0" else "tasks.jsonl")
    if not file.exists():
        return {}
    entries = _parquet(path, file) if version == "v3.0" else json_lines(path, file)
    found = {}
    for entry in entries:
        number, text = entry.get("task_index"), entry.get("task")
        if type(number) is int and isinstance(text, str):
            found[number] = text
    return found


def task_text(tasks: Any) -> str | None:
    """One text of an episode's list of them, None where it states none."""
    listed = [tasks] if isinstance(tasks, str) else tasks if isinstance(tasks, list) else []
    texts = [x for x in listed if isinstance(x, str) and x.strip()]
    return " / ".join(dict.fromkeys(texts)) or None


def _parquet(path: Path, file: Path) -> Iterator[Mapping[str, Any]]:
    for row in parquet_rows(file, _MOST_TASKS, inside=path):
        index = next((row[x] for x in ("task", "__index_level_0__", "index") if x in row), None)
        yield {"task_index": row.get("task_index"), "task": index}


def _flat(names: Any) -> list[str]:
    """Names in the order of dimensions, whatever form they have; [] where it is none of these."""
    if isinstance(names, str):
        return [names[:_LONGEST]]
    if isinstance(names, dict):
        if names and all(type(x) is int for x in names.values()):
            return [str(x)[:_LONGEST] for x in sorted(names, key=lambda x: names[x])]
        names = list(names.values())
    if isinstance(names, list):
        return [text for item in names for text in _flat(item)]
    return []
