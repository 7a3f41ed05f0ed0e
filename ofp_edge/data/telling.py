"""With which words an episode's samples are told: one place, for training, checks and ranges.

A policy's text field has a closed list of instructions. A dataset has one text an episode: in a
text field of ours, or as the task that LeRobot and other layouts keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ofp_edge.data.dataset import Dataset
from ofp_edge.errors import DatasetError, UnknownName
from ofp_edge.fields import Text
from ofp_edge.spec import ObservationField
from ofp_edge.strict import shown

TASK = "task"
"""The text field that is made of a foreign dataset's tasks."""


def told_as(dataset: Dataset, wanted: Sequence[ObservationField]) -> Dataset:
    """Return the dataset with the text field of `wanted`, a policy's observations: its name, its
    choices, its numbers. Without one there, the dataset stays as it is.

    Raises UnknownName, naming the dataset, for an instruction of its episodes that the policy was
    never trained with; DatasetError where an episode has none.
    """
    field = next((f for f in wanted if isinstance(f, Text)), None)
    if field is None:
        return dataset
    ours = [f for f in dataset.interface.observations if isinstance(f, Text)]
    own = next((f for f in ours if f.name == field.name), ours[0] if len(ours) == 1 else None)
    if own == field:
        return dataset
    texts = _texts(dataset, field, own)
    for text in dict.fromkeys(texts):
        if text not in field.choices:
            raise UnknownName(f"instruction of {dataset.path}:", text, field.choices)
    numbers = np.array([field.choices.index(text) for text in texts], np.int64)
    lengths = np.diff(dataset.episode_ends, prepend=0)
    fields = {k: x for k, x in dataset.fields.items() if own is None or k != own.name}
    others = tuple(f for f in dataset.interface.observations if f != own)
    interface = replace(dataset.interface, observations=(*others, field))
    fields[field.name] = np.repeat(numbers, lengths)
    return replace(dataset, interface=interface, fields=fields)


def with_tasks(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Return datasets to be trained together with the same text field each, for a policy that is to
    take instructions: where they have not one in common, it is made of all that they were told, and
    of their tasks. DatasetError without any."""
    own = {_text_of(dataset) for dataset in datasets}
    if len(own) == 1 and None not in own:
        return list(datasets)
    found = [text for x in datasets for text in _asked(x) if text is not None]
    if not found:
        raise DatasetError(f"{datasets[0].path}: {_untold(datasets[0], None)}")
    names = {x.name for x in own if x is not None}
    field = Text(names.pop() if len(names) == 1 else TASK, choices=tuple(dict.fromkeys(found)))
    return [told_as(dataset, (field,)) for dataset in datasets]


def _asked(dataset: Dataset) -> Iterable[str | None]:
    """What its episodes were told: a text field's list, or each episode's task, or the one task."""
    own = _text_of(dataset)
    return own.choices if own else dict.fromkeys(dataset.tasks or (dataset.task,))


def _text_of(dataset: Dataset) -> Text | None:
    return next((f for f in dataset.interface.observations if isinstance(f, Text)), None)


def _texts(dataset: Dataset, field: Text, own: Text | None) -> list[str]:
    """The instruction of each episode."""
    if own is not None:
        first = np.concatenate([[0], dataset.episode_ends[:-1]])
        return [own.choices[int(x)] for x in dataset.fields[own.name][first]]
    tasks = dataset.tasks or (dataset.task,) * dataset.episodes
    blank = [i for i, task in enumerate(tasks) if task is None]
    if blank:
        raise DatasetError(f"{dataset.path}: {_untold(dataset, blank[0], field)}")
    return [task for task in tasks if task is not None]


def _untold(dataset: Dataset, episode: int | None, field: Text | None = None) -> str:
    whole = episode is None or not any(dataset.tasks)
    what = "its episodes" if whole else f"episode {episode}"
    wanted = f" {shown(field.choices[0])}, or another of its list," if field else ""
    return (
        f"no task says what {what} did, and the policy is told an instruction{wanted} with each: "
        'state it in a mapping: `task = "…"`, or leave the episode out.'
    )
