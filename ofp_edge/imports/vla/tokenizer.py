"""The prompt table, made with the tokenizer's own files and held against it.

Nothing here runs on a robot. tokenizer.json is read by the small library `tokenizers`, a
sentencepiece .model by `sentencepiece`; neither executes what is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ofp_edge.errors import PolicyError
from ofp_edge.extras import require
from ofp_edge.outside import read_plain, said_by
from ofp_edge.prompt import BINS, LEAST_BIN, Prompt, StateBins
from ofp_edge.strict import shown

Tokenize = Callable[[str], Sequence[int]]
NAMES = ("tokenizer.json", "tokenizer.model", "paligemma_tokenizer.model")
_LARGEST = 256 << 20
_CHECKED = 1000  # random prompts that the table must make as the tokenizer does
_MOST_SAMPLES = 8


def open_tokenizer(path: Path) -> Tokenize:
    """Return the function from a text to its ids, special ones included. Raises PolicyError.

    path: tokenizer.json, a sentencepiece .model, or a folder with one of `NAMES`.
    """
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).exists()]
        if not found:
            raise PolicyError(f"{path}: expected one of {', '.join(NAMES)} in it.")
        path = found[0]
    data = read_plain(path, PolicyError, _LARGEST)
    if path.suffix == ".json":
        tokenizers = require("tokenizers", "vla")
        with said_by(f"{path} is no tokenizer", PolicyError):
            made = tokenizers.Tokenizer.from_str(data.decode())
            made.no_padding()
            made.no_truncation()
        return lambda text: list(made.encode(text).ids)
    pieces = require("sentencepiece", "vla")
    with said_by(f"{path} is no sentencepiece model", PolicyError):
        model = pieces.SentencePieceProcessor(model_proto=data)
    return lambda text: list(model.encode(text, add_bos=True))


def plain_prompt(texts: Sequence[str], tokenize: Tokenize, length: int, *, newline: bool) -> Prompt:
    """Return the table of prompts that are the instruction alone, with a line's end behind it."""
    ends = [x if x.endswith("\n") or not newline else f"{x}\n" for x in texts]
    return Prompt(tuple(tuple(tokenize(x)) for x in ends), (), (), length, None)


def stated(text: str, bins: Sequence[int]) -> str:
    """Return pi0.5's prompt of an instruction and the bins of a state."""
    cleaned = text.strip().replace("_", " ").replace("\n", " ")
    return f"Task: {cleaned}, State: {' '.join(map(str, bins))};\nAction: "


def stated_prompt(
    texts: Sequence[str], tokenize: Tokenize, length: int, state: StateBins, what: str
) -> Prompt:
    """Return the table of prompts with a state. Raises PolicyError where the tokenizer makes other
    ids of 1,000 random prompts, as it does where it joins numbers to what is beside them."""
    samples = [tokenize(stated(texts[0], [n])) for n in range(LEAST_BIN, _MOST_SAMPLES)]
    tail = _common_end(samples)
    heads = [_head(text, tokenize, what) for text in texts]
    cut = len(tail)
    numbers = tuple(
        tuple(tokenize(stated(texts[0], [n]))[len(heads[0]) : -cut or None])
        for n in range(LEAST_BIN, BINS)
    )
    prompt = Prompt(tuple(heads), numbers, tuple(tail), length, state)
    _hold_against(prompt, texts, tokenize, what)
    return prompt


def _head(text: str, tokenize: Tokenize, what: str) -> tuple[int, ...]:
    """What prompts of an instruction begin with, whatever the state is."""
    ids = [list(tokenize(stated(text, [n]))) for n in range(LEAST_BIN, _MOST_SAMPLES)]
    whole = stated(text, [])
    alone = list(tokenize(whole[: whole.rindex(" ;")]))  # up to "State:"
    if any(x[: len(alone)] != alone for x in ids):
        raise PolicyError(f"{what}: it joins {shown(text)} and the state: {_NO_TABLE}")
    return tuple(alone)


_NO_TABLE = "no table of prompts can stand in for it. Is it the policy's own tokenizer?"


def _common_end(found: Sequence[Sequence[int]]) -> list[int]:
    size = 0
    while all(len(x) > size and x[-1 - size] == found[0][-1 - size] for x in found):
        size += 1
    return list(found[0][len(found[0]) - size :])


def _hold_against(prompt: Prompt, texts: Sequence[str], tokenize: Tokenize, what: str) -> None:
    size = 0 if prompt.state is None else len(prompt.state.first)
    rng = np.random.default_rng(0)
    for number in range(_CHECKED):
        text = number % len(texts)
        bins = rng.integers(LEAST_BIN, BINS, size)
        made = [*prompt.heads[text]]
        for value in bins:
            made += prompt.numbers[value - LEAST_BIN]
        made += prompt.tail
        if made != list(tokenize(stated(texts[text], bins.tolist()))):
            raise PolicyError(f"{what}: it makes other ids of {bins.tolist()}: {_NO_TABLE}")
