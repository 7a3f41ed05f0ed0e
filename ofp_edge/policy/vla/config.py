"""What the kinds of VLA network (kinds.py) share, and what they are built from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.fields import Rgb, State, Text
from ofp_edge.fields.text import instructions_of
from ofp_edge.functions import ACT, ENCODE, Function
from ofp_edge.manifest import FileRole
from ofp_edge.normalize import STATE_BOUND, FieldStatistics, joined
from ofp_edge.outside import said_by
from ofp_edge.policy.encoder import Normalize
from ofp_edge.policy.imported.normalize import NORMALIZATIONS, ModeNormalize
from ofp_edge.policy.kind import Network, require_many_steps
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import Encoder
from ofp_edge.policy.prompting import Prompting
from ofp_edge.policy.sizes import read_sizes, require_one_of
from ofp_edge.policy.vla.checks import check_decoder, check_flow, check_pair, check_vision
from ofp_edge.policy.vla.folder import (
    encoder_of,
    fill_vla,
    open_words,
    save_vla,
    set_words,
    shard_names,
)
from ofp_edge.policy.vla.functions import vla_functions
from ofp_edge.policy.vla.network import PaddedActions, VlaAct, VlaEncoder, VlaTrunk
from ofp_edge.policy.vla.parts import Pictures
from ofp_edge.policy.vla.sizes import DecoderSizes, FlowSizes, VisionSizes
from ofp_edge.policy.vla.steps import Steps
from ofp_edge.policy.vla.words import FILE as WORDS
from ofp_edge.policy.weights import shapes_of
from ofp_edge.prompt import FILE as PROMPT
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import shown

AT = "config.network"
_LARGEST_VOCABULARY = 1 << 24
BOUNDED = "bounded"  # of states of networks that are trained here: as our own networks see them
_LATER = "is a vision-language-action policy, which"
REFUSALS = {
    "pte": "ExecuTorch takes no vision-language-action policy: too much of it is outside XNNPACK.",
    "arm-cpu": f"{_LATER} is too slow on a board's CPU: --target jetson-orin, or host.",
    "quantize": f"{_LATER} can't be quantised yet.",
}


@dataclass(frozen=True)
class VlaConfig(Network):
    """What SmolVLA and pi0.5 share. words: the longest prompt; vocabulary: rows of the table.

    steps: evaluations of a chunk, as the checkpoint had it. normalization: by field, one of
    NORMALIZATIONS, of a state also "bounded". shards: files that hold the weights.
    """

    vision: VisionSizes
    language: DecoderSizes
    expert: DecoderSizes
    flow: FlowSizes
    words: int
    vocabulary: int
    steps: int
    normalization: dict[str, str]
    shards: int

    one_row: ClassVar[bool] = True  # a row's cache may have 36 MB
    keeps_encoder: ClassVar[bool] = True
    half_on_gpu: ClassVar[bool] = True
    stated: ClassVar[bool]
    """Whether `encode` takes the state."""
    centred: ClassVar[bool]
    """Whether a picture stands in the middle of its square."""

    @property
    def files(self) -> tuple[str, ...]:
        """The same as for Network, the table of words and the prompt."""
        return (*shard_names(self.shards), WORDS, PROMPT)

    @property
    def refusals(self) -> Mapping[str, str]:
        """The same as for Network: the other half of the way."""
        return REFUSALS

    @property
    def state_bound(self) -> float:
        """Where a state is cut off, if it is; see Network."""
        return STATE_BOUND if BOUNDED in self.normalization.values() else 0.0

    @property
    def actions_relative(self) -> tuple[bool, ...]:
        """By action dimension, whether it is a difference to the state; empty: none is."""
        return ()

    @classmethod
    def read(cls, value: Any, **more: Any) -> Any:
        """Read the entry of config.json. Raises PolicyError naming what does not fit."""
        if not isinstance(value, dict):
            raise PolicyError(f"{AT}: expected an object, got {shown(value)}.")
        vision = read_sizes(VisionSizes, value.get("vision"), f"{AT}.vision")
        language = read_sizes(DecoderSizes, value.get("language"), f"{AT}.language")
        expert = read_sizes(DecoderSizes, value.get("expert"), f"{AT}.expert")
        flow = read_sizes(FlowSizes, value.get("flow"), f"{AT}.flow")
        vocabulary = value.get("vocabulary")
        if type(vocabulary) is not int or not 0 < vocabulary <= _LARGEST_VOCABULARY:
            raise PolicyError(f"{AT}.vocabulary: expected a number of words, got {vocabulary!r}.")
        rest = {**value, "vocabulary": 1}  # the one size that is larger than all others
        built = {"vision": vision, "language": language, "expert": expert, "flow": flow, **more}
        made: Any = read_sizes(cls, rest, AT, **built)
        object.__setattr__(made, "vocabulary", vocabulary)
        check_vision(vision, f"{AT}.vision")
        check_decoder(language, f"{AT}.language")
        check_decoder(expert, f"{AT}.expert")
        check_pair(language, expert, AT)
        for name, mode in made.normalization.items():
            what = f"{AT}.normalization.{shown(name)[1:-1]}"
            require_one_of(what, mode, (*NORMALIZATIONS, BOUNDED))
        return made

    @abstractmethod
    def parts(self, pictures: Pictures, spec: PolicySpec, states: nn.ModuleList) -> Any:
        """Return the module of `encode`, the time embedding and the expert."""

    def build(self, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]) -> PolicyNetwork:
        """Build the network, still without words and prompt; see Network."""
        cameras = self._check(spec)
        modes = self.normalization
        pictures = Pictures(
            self.vision, self.language.width, cameras, modes, dict(statistics), centred=self.centred
        )
        states = nn.ModuleList(
            Normalize(statistics[f.name], 2, STATE_BOUND)
            if modes[f.name] == BOUNDED
            else ModeNormalize(modes[f.name], statistics[f.name], 2)
            for f in spec.observations
            if isinstance(f, State) and self.stated
        )
        module, time, expert = self.parts(pictures, spec, states)
        seen = len(cameras) * self.vision.words
        length = seen + self.words + self.stated
        kv = (2 * self.language.layers * self.language.kv_heads, length, self.language.head_dim)
        encoder: Encoder = VlaEncoder(
            module, spec.observations, kv, seen, self.words, stated=self.stated
        )
        actions = PaddedActions(
            modes[spec.actions[0].name],
            joined([statistics[f.name] for f in spec.actions]),
            spec.horizon,
            spec.action_dim,
            self.flow.width,
        )
        network = PolicyNetwork(spec, encoder, time, VlaTrunk(expert, kv), actions, learns=False)
        network.chunk_size = spec.horizon * self.flow.width
        return network

    def _check(self, spec: PolicySpec) -> list[Rgb]:
        cameras = [f for f in spec.observations if isinstance(f, Rgb)]
        others = [f.name for f in spec.observations if not isinstance(f, (Rgb, State, Text))]
        if others or not cameras or spec.n_obs_steps != 1:
            got = others[0] if others else f"{len(cameras)} images, {spec.n_obs_steps} frames"
            raise PolicyError(f"{AT}: expected images, states and a text of one frame, got {got}.")
        named = [f.name for f in spec.observations if not isinstance(f, Text)]
        if set(self.normalization) != {*named, *(f.name for f in spec.actions)}:
            raise PolicyError(f"{AT}.normalization: expected one entry for each field.")
        if len({self.normalization[f.name] for f in spec.actions}) != 1:
            raise PolicyError(f"{AT}.normalization: expected the same for all actions.")
        for name in (*(f.name for f in cameras), *(f.name for f in spec.actions)):
            what = f"{AT}.normalization.{shown(name)[1:-1]}"
            require_one_of(what, self.normalization[name], NORMALIZATIONS)
        check_flow(self.flow, spec.action_dim, f"{AT}.flow")
        return cameras

    def load(
        self, folder: Path, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]
    ) -> PolicyNetwork:
        """Load the network, its words and its prompt; see Network."""
        with said_by(f"{folder / 'config.json'}: no network can be built from it", PolicyError):
            with torch.device("meta"):  # its shapes alone: they may be absurd
                shapes = shapes_of(self.build(spec, statistics).state_dict())
            network = self.build(spec, statistics)
        fill_vla(network, shapes, folder, self.shards)
        open_words(network, folder, self.vocabulary, self.language.width)
        return network

    def save(self, network: PolicyNetwork, folder: Path) -> tuple[str, ...]:
        """Write weights, words and prompt; see Network."""
        return save_vla(network, folder, self.shards)

    def begin(self, network: PolicyNetwork) -> PolicyNetwork:
        """Give it words of its own; see Network."""
        from ofp_edge.policy.vla.fresh import fresh_words

        choices = instructions_of(network.spec.observations)
        prompt, words = fresh_words(choices, self.language.width)
        set_words(encoder_of(network), prompt, words, "its own words")
        return network

    def quantised(self, operations: tuple[str, ...]) -> tuple[str, ...]:
        """Return linear layers alone: attention has none, and stays in float; see Network."""
        return tuple(x for x in operations if x == "linear")

    def fitted(self, network: PolicyNetwork, words: int | None) -> Network:
        """Shorten its prompts; see Network."""
        encoder = encoder_of(network)
        least = min(encoder.told_by()[0].longest, self.words)
        if words is not None and not least <= words <= self.words:
            raise OfpError(
                f"--prompt-words {words}: expected {least}, its longest prompt, to {self.words}, "
                "what it was trained with. Fewer instructions, or shorter ones, take less."
            )
        encoder.shorten(least if words is None else words)
        if isinstance(network.trunk, VlaTrunk):
            network.trunk.kv = encoder.kv
        return replace(self, words=encoder.words)

    def widened(
        self,
        network: PolicyNetwork,
        method: str,
        statistics: Mapping[str, FieldStatistics],
        what: str,
    ) -> tuple[Network, PolicyNetwork]:
        """Widen its time; see Network. The network itself: a copy may take 13 GB."""
        require_many_steps(method, what)
        network.time.blind_to_steps()
        return self, network

    def sampling(self, method: str, options: Mapping[str, float]) -> Sampling:
        """Return the sampling: of flow, in as many steps as the checkpoint had it."""
        if method == "flow":
            return Steps(**options, steps=self.steps)
        return super().sampling(method, options)

    def functions(self, network: PolicyNetwork, row_size: int) -> tuple[Function, ...]:
        """Return `encode` and `act` with the cache between them; see Network."""
        return vla_functions(network, self.language.width, self.flow.width, row_size,
                             relative=bool(self.actions_relative))  # fmt: skip

    def prompting(self, network: PolicyNetwork) -> Prompting:
        """Return how an instruction, and a state in bins, become inputs; see Network."""
        encoder = encoder_of(network)
        files: dict[FileRole, str] = {"words": WORDS, "prompt": PROMPT}
        return Prompting(encoder.prompted, encoder.cameras, files, *encoder.told_by())

    def modules(self, network: PolicyNetwork, method: Sampling) -> dict[str, nn.Module]:
        """Return the functions' modules; see Network."""
        encoder, trunk = network.encoder, network.trunk
        act = VlaAct(
            trunk.expert, network.actions, method, network.spec, network.time.size,  # type: ignore[arg-type]
            self.actions_relative,
        )  # fmt: skip
        return {ENCODE: encoder.module, ACT: act}  # type: ignore[dict-item]
