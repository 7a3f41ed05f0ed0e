"""With which words an episode's samples are told: one place, for training, checks and ranges.

A policy's text field has a closed list of instructions. A dataset has one text an episode: in a
text field of ours, or as the task that LeRobot and other layouts keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ofp_edge.data.dataset import Dataset
from ofp_edge.errors import DatasetError, UnknownName
from ofp_edge.fields import Text
from ofp_edge.fields.text import LONGEST
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


def with_tasks(datasets: Sequence[Dataset], *, reads_words: bool = False) -> list[Dataset]:
    """Return datasets to be trained together with the same text field each, for a policy that is to
    take instructions: of all that their episodes were told, in a text field or as their tasks.

    reads_words: a network that reads them, and may be told what a text field lists and no episode
    says; a row of another's would be untrained. DatasetError without any instruction, or where two
    can't be told apart.
    """
    own = [x for x in map(_text_of, datasets) if x is not None]
    asked: dict[str, Path] = {}
    for dataset in datasets:
        named = _text_of(dataset) if reads_words else None
        for text in named.choices if named else _asked(dataset):
            asked.setdefault(text, dataset.path)
    listed = (text for x in own for text in x.choices)
    texts = tuple(text for text in dict.fromkeys((*listed, *asked)) if text in asked)
    if not texts:
        raise DatasetError(f"{datasets[0].path}: {_untold(datasets[0], None)}")
    _require_tellable({text: asked[text] for text in texts})
    names = {x.name for x in own}
    field = Text(names.pop() if len(names) == 1 else TASK, choices=texts)
    return [told_as(dataset, (field,)) for dataset in datasets]


def all_told(datasets: Sequence[Dataset]) -> bool:
    """Return whether every dataset has a text field: such a policy is told without being asked."""
    return all(_text_of(dataset) is not None for dataset in datasets)


def require_all_trained(parts: Iterable[tuple[Dataset, Sequence[int]]]) -> None:
    """Raise DatasetError, naming it, where an instruction of the datasets' list is told in none of
    the episodes, each dataset's by its own numbers: those that are trained on."""
    have: dict[str, bool] = {}
    path = ""
    for dataset, episodes in parts:
        if (own := _text_of(dataset)) is None:
            return
        path = path or str(dataset.path)
        texts = _texts(dataset, own, own)
        have = {text: have.get(text, False) for text in own.choices}
        have |= dict.fromkeys((texts[e] for e in episodes), True)
    for text, trained in have.items():
        if not trained:
            raise DatasetError(
                f"{path}: instruction {shown(text)}: no episode that is trained on was told it, "
                "only ones that are held out. Give more of it, or leave it out."
            )


def _require_tellable(texts: Mapping[str, Path]) -> None:
    """texts: each with a dataset that has it."""
    alike: dict[str, str] = {}
    for text, path in texts.items():
        where = f"{path}: instruction {shown(text)}"
        if len(text) > LONGEST:
            raise DatasetError(
                f"{where}: it has {len(text)} characters, expected 1..{LONGEST}. State a shorter "
                'one in a mapping: `task = "…"`.'
            )
        if text != text.strip() or not text.isprintable():
            raise DatasetError(
                f"{where}: expected no space at its ends and nothing that can't be printed, for it "
                'is told as it stands. State it in a mapping: `task = "…"`.'
            )
        plain = " ".join(text.casefold().split())
        if plain in alike:
            raise DatasetError(
                f"{where} and {shown(alike[plain])} differ by case or spaces alone, and the policy "
                'would take them for two. State one for both in a mapping: `task = "…"`.'
            )
        alike[plain] = text


def _asked(dataset: Dataset) -> Iterable[str]:
    """What its episodes were told: in a text field, or as each one's task, or the one task."""
    own = _text_of(dataset)
    texts = _texts(dataset, own, own) if own else dataset.tasks or (dataset.task,)
    return dict.fromkeys(text for text in texts if text is not None and text.strip())


def _text_of(dataset: Dataset) -> Text | None:
    return next((f for f in dataset.interface.observations if isinstance(f, Text)), None)


def _texts(dataset: Dataset, field: Text, own: Text | None) -> list[str]:
    """The instruction of each episode."""
    if own is not None:
        first = np.concatenate([[0], dataset.episode_ends[:-1]])
        return [own.choices[int(x)] for x in dataset.fields[own.name][first]]
    tasks = dataset.tasks or (dataset.task,) * dataset.episodes
    blank = [i for i, task in enumerate(tasks) if task is None or not task.strip()]
    if blank:
        raise DatasetError(f"{dataset.path}: {_untold(dataset, blank[0], field)}")
    return [task for task in tasks if task is not None]


def _untold(dataset: Dataset, episode: int | None, field: Text | None = None) -> str:
    whole = episode is None or not any(task and task.strip() for task in dataset.tasks)
    what = "its episodes" if whole else f"episode {episode}"
    wanted = f" {shown(field.choices[0])}, or another of its list," if field else ""
    return (
        f"no task says what {what} did, and the policy is told an instruction{wanted} with each: "
        'state it in a mapping: `task = "…"`, or leave the episode out.'
    )
