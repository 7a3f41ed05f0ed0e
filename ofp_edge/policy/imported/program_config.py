"""Networks imported as programs: their files are kept unchanged, and nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

from safetensors.torch import save
from torch import nn

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_bytes
from ofp_edge.functions import ACT
from ofp_edge.normalize import Affine, FieldStatistics
from ofp_edge.policy.imported.archive import read_program
from ofp_edge.policy.imported.binding import Names, Signature
from ofp_edge.policy.imported.onnx_functions import OnnxAct, OnnxEncoder, OnnxPredict
from ofp_edge.policy.imported.program import (
    ChunkTrunk,
    Identity,
    OwnEncoder,
    Pair,
    ProgramTrunk,
    as_module,
    encoder_signature,
    network_signature,
)
from ofp_edge.policy.kind import Network
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import Embedding, ScaleOffset, Untimed
from ofp_edge.policy.sizes import require_one_of
from ofp_edge.policy.weights import MODEL
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import read_as, shown

PREDICTS = ("average", "velocity", "chunk")
_NO_WEIGHTS = {
    "train": "was imported: it is distilled, ofp-edge distill.",
    "distill": "came as a program, which has no weights to train: distil the checkpoint that it "
    "was exported from.",
}
_DETERMINISTIC = {
    "train": "came as a program, which has no weights to train.",
    "distill": "answers in one evaluation already: there is nothing to distil.",
}
_ONNX_ALONE = {
    "pte": "ExecuTorch takes torch.export programs, and an ONNX graph can't be turned into "
    "one: import the network with --exported for it.",
    "quantize": "came as an ONNX graph, which is compiled as it is. Quantise it before exporting, "
    "or import the network with --exported.",
}


@dataclass(frozen=True)
class ProgramFile:
    """A file of the policy folder, whose hash is checked before it is opened.

    inputs: the program's names of them in our order; none in a folder that was imported by place,
    before names were kept. output: its name of the answer.
    """

    file: str
    sha256: str
    inputs: tuple[str, ...] = ()
    output: str | None = None

    def read(self, folder: Path) -> bytes:
        """Read the file. Raises PolicyError where it is missing or has another hash."""
        path = folder / self.file
        data = read_program(path, inside=folder)
        if sha256_bytes(data) != self.sha256:
            raise PolicyError(f"{path} is not the file that was imported: its hash differs.")
        return data

    def open(self, form: str, folder: Path, wanted: Signature) -> nn.Module:
        """Read it and return the module that takes `wanted`'s inputs. Raises PolicyError."""
        what, data = str(folder / self.file), self.read(folder)
        if self.inputs and len(self.inputs) != len(wanted.inputs):
            expected = f"{len(wanted.inputs)} names of inputs"
            raise PolicyError(f"{what}: expected {expected}, got {shown(list(self.inputs))}.")
        own = dict(zip(wanted.inputs, self.inputs, strict=False))
        names = Names(own, self.output) if own else None
        return as_module(form, data, what, wanted, names)[0]


@dataclass(frozen=True)
class ProgramConfig(Network):
    """A network imported as a program. form: exported (torch.export) or onnx. predicts: average,
    u(z, t, r, observations), velocity, v(z, t, observations), or chunk, the answer itself of a
    deterministic policy. encoder: None is the identity."""

    kind: ClassVar[str | None] = "program"
    one_row: ClassVar[bool] = True
    form: Literal["exported", "onnx"]
    predicts: str
    program: ProgramFile
    encoder: ProgramFile | None
    feature_dim: int

    @property
    def files(self) -> tuple[str, ...]:
        """The files of Network and the program's own; model.safetensors is empty."""
        return (MODEL, *(x.file for x in (self.program, self.encoder) if x is not None))

    @property
    def draws(self) -> bool:
        """The same as for Network."""
        return self.predicts != "chunk"

    @property
    def refusals(self) -> Mapping[str, str]:
        """The same as for Network."""
        own = _NO_WEIGHTS if self.draws else _DETERMINISTIC
        return {**own, **(_ONNX_ALONE if self.form == "onnx" else {})}

    @classmethod
    def from_json(cls, value: Any) -> ProgramConfig:
        """Read the entry; see Network."""
        what = "config.network"
        made = read_as(cls, value, "", PolicyError, what)
        require_one_of(f"{what}.predicts", made.predicts, PREDICTS)
        for name, entry in (("program", made.program), ("encoder", made.encoder)):
            if entry is not None and ("/" in entry.file or entry.file.startswith(".")):
                raise PolicyError(
                    f"{what}.{name}.file: expected a plain file name, got {shown(entry.file)}."
                )
        if made.feature_dim < 1:
            raise PolicyError(f"{what}.feature_dim: expected at least 1, got {made.feature_dim}.")
        return made

    def build(self, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]) -> NoReturn:
        """Raise PolicyError: a program has no new weights."""
        raise PolicyError("a network that came as a program can't be made anew, or trained.")

    def load(
        self, folder: Path, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]
    ) -> PolicyNetwork:
        """Load the network; see Network."""
        size, encoder = self.feature_dim, None
        signature = network_signature(self.predicts, spec, size)
        program = self.program.open(self.form, folder, signature)
        if self.encoder is not None:
            encoder = self.encoder.open(self.form, folder, encoder_signature(spec))
        return self.around(program, encoder, spec, statistics)

    def around(
        self,
        program: nn.Module,
        encoder: nn.Module | None,
        spec: PolicySpec,
        statistics: Mapping[str, FieldStatistics],
    ) -> PolicyNetwork:
        """Build the network around programs that are open already."""
        own = OnnxEncoder if self.form == "onnx" else OwnEncoder
        encode = Identity(spec) if encoder is None else own(encoder, self.feature_dim)
        time: Embedding = Pair()
        trunk: nn.Module = ProgramTrunk(program, spec, self.predicts == "velocity")
        if not self.draws:
            time, trunk = Untimed(), ChunkTrunk(program, spec)
        affine = Affine.concatenated([Affine.of(statistics[f.name]) for f in spec.actions])
        actions = ScaleOffset(affine, spec.horizon)
        return PolicyNetwork(spec, encode, time, trunk, actions, learns=False)

    def save(self, network: PolicyNetwork, folder: Path) -> tuple[str, ...]:
        """Write empty weights; the importer writes the program's files, whose hashes stand here."""
        (folder / MODEL).write_bytes(save({}))
        return (MODEL,)

    def modules(self, network: PolicyNetwork, method: Sampling) -> dict[str, nn.Module]:
        """Return the functions' modules; see Network."""
        modules = super().modules(network, method)
        if self.form == "onnx":
            modules[ACT] = OnnxAct(network, method) if self.draws else OnnxPredict(network)
        return modules
