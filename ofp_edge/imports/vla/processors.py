"""What a VLA's processor files do, step by step: each step is understood, or refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ofp_edge.errors import PolicyError
from ofp_edge.imports.processors import (
    Statistics,
    Step,
    normalisation,
    read_steps,
    require_plain_step,
)
from ofp_edge.imports.values import Values
from ofp_edge.strict import shown

BEFORE, AFTER = "policy_preprocessor.json", "policy_postprocessor.json"
_RENAME, _BATCH, _DEVICE = (
    "rename_observations_processor", "to_batch_processor", "device_processor",
)  # fmt: skip
_NORMAL, _BACK = "normalizer_processor", "unnormalizer_processor"
_LINE, _TOKENS = "smolvla_new_line_processor", "tokenizer_processor"
_STATE = "pi05_prepare_state_tokenizer_processor_step"
_RELATIVE, _ABSOLUTE = "relative_actions_processor", "absolute_actions_processor"
_PLAIN = (_RENAME, _BATCH, _DEVICE)


@dataclass(frozen=True)
class Processed:
    """What is done before and after the network. modes: by feature type, as LeRobot calls them.

    renamed: the robot's name of a feature, by the checkpoint's. words: the longest prompt.
    newline: whether a line's end is added to an instruction. stated: whether the state is written
    into the prompt. relative: whether actions are differences to the state; absolute: the names of
    those joints that are not; names: of all joints, where they are known.
    """

    before: tuple[dict[str, str], dict[str, Statistics]]
    after: tuple[dict[str, str], dict[str, Statistics]]
    renamed: dict[str, str]
    words: int
    newline: bool
    stated: bool
    relative: bool = False
    absolute: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None


def read_processors(
    folder: Path, inputs: dict[str, str], outputs: dict[str, str], state: int
) -> Processed:
    """Read both files. inputs, outputs: the features' types; state: the width the network has it
    in. Raises PolicyError."""
    path = folder / BEFORE
    steps = read_steps(path, (*_PLAIN, _NORMAL, _LINE, _TOKENS, _STATE, _RELATIVE))
    by_name = {step.name: step for step in steps}
    if len(by_name) != len(steps):
        raise PolicyError(f"{path}: expected each step once, got {[x.name for x in steps]}.")
    _require_order(path, steps, (_LINE, _TOKENS), (_NORMAL, _STATE), (_STATE, _TOKENS))
    _require_order(path, steps, (_RENAME, _NORMAL), (_RELATIVE, _NORMAL))
    if _TOKENS not in by_name:
        raise PolicyError(f"{path}: expected a step {_TOKENS}.")
    renamed = _renamed(path, by_name.get(_RENAME))
    for step in steps:
        if step.name in (_BATCH, _DEVICE, _LINE):
            require_plain_step(step)
    if _STATE in by_name:
        _read_state(by_name[_STATE].options, state)
    before = normalisation(path, steps, inputs)
    relative = _relative(by_name.get(_RELATIVE))
    after = _after(folder / AFTER, outputs, relative=relative[0])
    words = _words(by_name[_TOKENS].options)
    return Processed(before, after, renamed, words, _LINE in by_name, _STATE in by_name, *relative)


def _require_order(path: Path, steps: Sequence[Step], *pairs: tuple[str, str]) -> None:
    names = [step.name for step in steps]
    for first, second in pairs:
        if first in names and second in names and names.index(first) > names.index(second):
            raise PolicyError(f"{path}: expected step {first} before {second}.")


def _renamed(path: Path, step: Step | None) -> dict[str, str]:
    if step is None:
        return {}
    step.options.get("rename_map")
    there = step.options.texts("rename_map") if step.options.value.get("rename_map") else {}
    step.options.require_all_read()
    found = {new: old for old, new in there.items()}
    if len(found) != len(there):
        raise PolicyError(f"{path}: rename_map: two observations get one name.")
    return found


def _words(options: Values) -> int:
    options.require("task_key", "task")
    options.require("padding_side", "right")
    options.require("truncation", True)
    padding = options.get("padding")
    if padding not in ("longest", "max_length", None):
        options.require("padding", "max_length")
    options.get("tokenizer_name")  # the user's own file says which
    words = options.whole("max_length")
    options.require_all_read()
    return words


def _read_state(options: Values, state: int) -> None:
    options.require("max_state_dim", state)
    options.require("task_key", "task")
    options.require_all_read()


def _relative(step: Step | None) -> tuple[bool, tuple[str, ...], tuple[str, ...] | None]:
    if step is None:
        return False, (), None
    options = step.options
    on = options.flag("enabled")
    apart = _texts(options, "exclude_joints") or ()
    names = _texts(options, "action_names")
    options.require_all_read()
    return on, apart, names


def _texts(options: Values, key: str) -> tuple[str, ...] | None:
    value = options.get(key)
    if value is not None and not (isinstance(value, list) and all(type(x) is str for x in value)):
        raise PolicyError(f"{options.what}: {key}: expected texts, got {shown(value)}.")
    return None if value is None else tuple(value)


def _after(
    path: Path, outputs: dict[str, str], *, relative: bool
) -> tuple[dict[str, str], dict[str, Statistics]]:
    steps = read_steps(path, (_DEVICE, _BACK, _ABSOLUTE))
    _require_order(path, steps, (_BACK, _ABSOLUTE))
    back = [step for step in steps if step.name == _ABSOLUTE]
    for step in steps:
        if step.name == _DEVICE:
            require_plain_step(step)
    enabled = [step.options.flag("enabled") for step in back]
    for step in back:
        step.options.require_all_read()
    if any(enabled) != relative or len(back) > 1:
        raise PolicyError(
            f"{path}: actions are {'relative' if relative else 'absolute'} before the network and "
            "the other way round behind it."
        )
    return normalisation(path, steps, outputs)


def relative_mask(found: Processed, size: int) -> tuple[bool, ...]:
    """Return by action dimension whether it is a difference to the state; empty: none is."""
    if not found.relative:
        return ()
    apart = [name.lower() for name in found.absolute if name]
    if not apart or found.names is None:
        return (True,) * size
    named = [not any(x in name.lower() for x in apart) for name in found.names[:size]]
    return (*named, *(True,) * (size - len(named)))
