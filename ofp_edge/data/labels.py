"""What is said of each episode, what was asked for in it and whether it was done: what to say about
it before training, and which episodes a mapping chooses by it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from ofp_edge.data.mapping import Mapping
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.strict import shown

_MOST_SHOWN, _LONGEST = 6, 200


def several_tasks(tasks: Sequence[str | None], episodes: Sequence[int] | None = None) -> str | None:
    """The tasks of these episodes, each with its number of them, and how to choose; None unless
    there are more than one. episodes: their numbers, default 0, 1, …"""
    counts = Counter(task for task in tasks if task is not None)
    if len(counts) < 2:
        return None
    numbers = range(len(tasks)) if episodes is None else episodes
    listed = ", ".join(
        f"{shown(task)} {count}{' episodes' * (not i)}"
        for i, (task, count) in enumerate(counts.most_common(_MOST_SHOWN))
    )
    more = ", …" * (len(counts) > _MOST_SHOWN)
    first = counts.most_common(1)[0][0]
    chosen = [number for number, task in zip(numbers, tasks, strict=True) if task == first]
    wrote = f"`episodes = {chosen}` or " if len(chosen) <= _MOST_SHOWN else ""
    name = json.dumps(first, ensure_ascii=False) if len(first) <= _LONGEST else '"…"'
    return (
        f"{len(counts)} tasks ({listed}{more}), and a policy of these fields takes no instruction: "
        f"choose with {wrote}`tasks = [{name}]` in a mapping, or say there what they are together: "
        '`task = "…"`, or tell the policy each episode\'s own: `train --instructed`'
    )


def failures(successes: Sequence[bool | None], episodes: Sequence[int] | None = None) -> str | None:
    """How many of these episodes are marked as failed, and how to leave them out; None if none."""
    numbers = range(len(successes)) if episodes is None else episodes
    failed = [n for n, success in zip(numbers, successes, strict=True) if success is False]
    if not failed:
        return None
    if len(failed) == len(successes):
        return f"all {len(failed)} episodes are marked as failed"
    listed = ", ".join(map(str, failed[:_MOST_SHOWN])) + ", …" * (len(failed) > _MOST_SHOWN)
    are = "is" if len(failed) == 1 else "are"
    return (
        f"{len(failed)} of {len(successes)} episodes {are} marked as failed ({listed}): leave "
        f"{'it' if len(failed) == 1 else 'them'} out with `leave_out_failed = true` in a mapping"
    )


def chosen_episodes(source: Source, mapping: Mapping) -> tuple[int, ...]:
    """The episodes that a mapping chooses by number, task and success. DatasetError where one is
    not there, or none is left."""
    count = len(source.lengths)
    chosen = tuple(range(count)) if mapping.episodes is None else mapping.episodes
    for episode in chosen:
        if episode >= count:
            raise DatasetError(
                f"{source.path}: episode {episode}: there are {count}, 0 to {count - 1}."
            )
    if len(set(chosen)) != len(chosen) or not chosen:
        raise DatasetError(f"{source.path}: episodes: expected each once, got {list(chosen)}.")
    if mapping.tasks is not None:
        have = [task for task in dict.fromkeys(source.tasks) if task is not None]
        for task in mapping.tasks:
            if task not in have:
                known = ", ".join(shown(x) for x in have[:_MOST_SHOWN]) or "none"
                raise DatasetError(
                    f"{source.path}: tasks: no episode's is {shown(task)}. There are: {known}."
                )
        chosen = tuple(e for e in chosen if source.tasks[e] in mapping.tasks)
    if mapping.leave_out_failed:
        if not any(x is not None for x in source.successes):
            raise DatasetError(
                f"{source.path}: leave_out_failed: the files do not say which episodes failed. "
                "Leave the line out, and choose with `episodes`."
            )
        chosen = tuple(e for e in chosen if source.successes[e] is not False)
    if not chosen:
        raise DatasetError(
            f"{source.path}: no episode is left by what the mapping chooses: episodes, tasks, "
            "leave_out_failed."
        )
    return chosen


def labels(source: Source, mapping: Mapping | None) -> list[str]:
    """What the labels of the episodes that a mapping chooses, default all, say that is to be looked
    at before training: a line each. DatasetError where it chooses what is not there."""
    every = tuple(range(len(source.lengths)))
    episodes = chosen_episodes(source, mapping) if mapping else every
    tasks = tasks_of(source, mapping, episodes)
    successes = [source.successes[e] for e in episodes] if source.successes else []
    lines = (
        several_tasks(tasks, episodes) if tasks else None,
        failures(successes, episodes) if successes else None,
    )
    return [line for line in lines if line is not None]


def tasks_of(
    source: Source, mapping: Mapping | None, episodes: Sequence[int]
) -> tuple[str | None, ...]:
    """The task of each of these episodes, () where none is known or the mapping states one."""
    if not source.tasks or (mapping is not None and mapping.task is not None):
        return ()
    return tuple(source.tasks[episode] for episode in episodes)
