"""Stand-ins for the tokenizers of SmolVLM and PaliGemma, trained on a few lines: the same pipeline,
like special tokens, another vocabulary. What those models' own files hold is not kept here."""

from __future__ import annotations

import string
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

LINES = [
    "pick up the red cube and place it into the tray", "open the drawer, then close it",
    "Task: push the button, State: 128 3 255 0 64;\nAction: ", "fold the towel\n",
    "pour water from the bottle into the cup", "Task: wipe the table, State: -1 12 200;\nAction: ",
]  # fmt: skip


def byte_level(path: Path, size: int = 380) -> None:
    """SmolLM's kind: bytes, single digits, no token before or behind a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<fake_token_around_image>", "<global-img>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(LINES, trainer)
    made.save(str(path))


def gemma(path: Path, size: int = 320) -> None:
    """Gemma's kind: spaces as ▁, never merged across, single digits, <bos> before a text."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("▁", "merged_with_next"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"],
        initial_alphabet=[*string.printable, "▁"], show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(LINES, trainer)
    made.add_special_tokens([AddedToken("<bos>", special=True)])
    bos = made.token_to_id("<bos>")
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", bos)]
    )
    made.save(str(path))
