"""The check, before any work, that a suite's tasks, preset, methods, options and step counts
exist."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor

from ofp_edge.bench.suite import Row, Suite, TaskEntry
from ofp_edge.errors import OfpError, SuiteError, UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.presets import preset
from ofp_edge.sim.adroit_task import AdroitTask
from ofp_edge.sim.fields import IMAGE_SIZE, Observe, action_fields, observation_fields
from ofp_edge.sim.tasks import find_task

T = TypeVar("T")


def check_names(suite: Suite) -> None:
    """Raises SuiteError for the first name that does not exist."""
    known = typing.get_args(Observe)
    if suite.observe not in known:
        raise SuiteError(f"{suite.path}: observe: {UnknownName('name', suite.observe, known)}.")
    _must(suite, "preset", preset, suite.preset)
    for task in suite.tasks:
        _must(suite, "[[tasks]]", find_task, task.name)
        _check_expert(suite, task)
    if suite.timed_on is not None:
        _check_sizes(suite, suite.timed_on)
    for row in suite.rows:
        _must(suite, f"[[rows]] {row.name}", _check_row, row)


def _check_sizes(suite: Suite, timed_on: str) -> None:
    """A step of another task costs the same where its network has the same sizes."""
    sizes = {task.name: _sizes(suite, task) for task in suite.tasks}
    if other := next((name for name, own in sizes.items() if own != sizes[timed_on]), None):
        raise SuiteError(
            f"{suite.path}: timed_on: {other} has {sizes[other]}, {timed_on} "
            f"{sizes[timed_on]}: their steps do not cost the same. Leave it out."
        )


def _sizes(suite: Suite, task: TaskEntry) -> str:
    found = find_task(task.name)
    size = suite.image_size or IMAGE_SIZE
    seen = observation_fields(found, cast(Observe, suite.observe), size)
    parts = [f"{f.name} {f.shape}" for f in seen]
    return ", ".join([*parts, *(f"{f.name} {f.shape}" for f in action_fields(found))])


def _check_expert(suite: Suite, task: TaskEntry) -> None:
    without = isinstance(find_task(task.name), AdroitTask)
    if without == (task.expert is not None):
        return
    said = (
        "missing. The task has none of its own" if without else "the task has its own. Leave it out"
    )
    raise SuiteError(f"{suite.path}: [[tasks]] {task.name}: expert: {said}.")


def _must(suite: Suite, where: str, check: Callable[[T], object], what: T) -> None:
    try:
        check(what)
    except OfpError as cause:
        raise SuiteError(f"{suite.path}: {where}: {str(cause).rstrip('.')}.") from None


def _check_row(row: Row) -> None:
    method = build_method(row.method, row.options)
    Choice(cold=row.cold, guard=row.guard, **row.starts)
    if not method.velocity and (given := set(row.starts) - {"noise_cold"}):
        raise OfpError(f"{min(given)}: every chunk of method {row.method} starts alike.")
    for nfe in row.nfe:  # asked with a network that does nothing, because a method may have a most
        method.sample(_Still(), torch.zeros(1, 1), torch.zeros(1, 1), nfe)  # type: ignore[arg-type]


class _Still:
    codes = None

    def __call__(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        return torch.zeros_like(z)
