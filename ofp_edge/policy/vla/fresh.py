"""A small SmolVLA that is trained here from nothing: its sizes, and words of its own.

There is no tokenizer: an instruction's words, split at spaces, are its tokens. Their rows are drawn
and stay as they are; what they mean is learned by the layers above them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ofp_edge.errors import PolicyError
from ofp_edge.fields import Rgb, State
from ofp_edge.fields.text import instructions_of
from ofp_edge.policy.vla.config import BOUNDED
from ofp_edge.policy.vla.kinds import SmolVlaConfig
from ofp_edge.policy.vla.sizes import DecoderSizes, FlowSizes, VisionSizes
from ofp_edge.policy.vla.words import Words
from ofp_edge.prompt import Prompt
from ofp_edge.spec import PolicySpec

_STEPS = 10  # of a chunk, as most published ones take


@dataclass(frozen=True)
class FreshVla:
    """The sizes that do not follow from the data; see SmolVlaConfig. longest_period, of the time's
    sines, and flow's width are the published ones' but for the padding: actions are not padded."""

    vision: VisionSizes
    language: DecoderSizes
    expert: DecoderSizes
    own_every: int
    shortest_period: float = 4e-3
    longest_period: float = 4.0

    def for_spec(self, spec: PolicySpec, committed_steps: int | None, codes: int) -> SmolVlaConfig:
        """Return the network for data with these fields. PolicyError where it can't take them."""
        if committed_steps:
            raise PolicyError("--committed-steps: preset vla takes no committed prefix.")
        if codes:
            raise PolicyError(f"--option codes={codes}: preset vla takes no codes. Leave it out.")
        kinds = {type(f) for f in spec.observations}
        choices = instructions_of(spec.observations)
        if not {Rgb, State} <= kinds or not choices:
            raise PolicyError(
                "--preset vla: expected pictures, a state and an instruction, got "
                f"{', '.join(f.name for f in spec.observations)}. Without instructions: --preset "
                "rgb."
            )
        states = sum(f.shape[0] for f in spec.observations if isinstance(f, State))
        modes = {f.name: "min_max" for f in spec.actions}
        for field in spec.observations:
            if not field.told:
                modes[field.name] = "identity" if isinstance(field, Rgb) else BOUNDED
        return SmolVlaConfig(
            vision=self.vision,
            language=self.language,
            expert=self.expert,
            flow=FlowSizes(spec.action_dim, self.shortest_period, self.longest_period),
            words=max(len(text.split()) for text in choices),
            vocabulary=len(vocabulary_of(choices)),
            steps=_STEPS,
            normalization=modes,
            shards=1,
            state=states,
            own_every=self.own_every,
            causal=False,
        )


def vocabulary_of(instructions: Sequence[str]) -> tuple[str, ...]:
    """Return the words of all instructions, each once, sorted: a word's place is its id."""
    return tuple(sorted({word for text in instructions for word in text.split()}))


def fresh_words(instructions: Sequence[str], width: int) -> tuple[Prompt, Words]:
    """Return the prompts of instructions, and a table (V, W) drawn by torch's own generator."""
    ids = {word: number for number, word in enumerate(vocabulary_of(instructions))}
    heads = tuple(tuple(ids[word] for word in text.split()) for text in instructions)
    table = torch.randn(len(ids), width) / width**0.5  # the network scales it up again
    return Prompt(heads, (), (), max(map(len, heads)), None), Words(table)
