"""Import a torch.export program or an ONNX graph: open it, try it, write it as a policy.

See policy/imported/program.py for the signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ofp_edge.apart import try_apart
from ofp_edge.errors import CheckFailed, PolicyError
from ofp_edge.files import sha256_bytes
from ofp_edge.image import as_input
from ofp_edge.imports.record import Imported, config_of, field_statistics
from ofp_edge.imports.spec_file import SpecFile, read_spec_file
from ofp_edge.policy.encoder import require_parts
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.imported.archive import clean_archive, read_program
from ofp_edge.policy.imported.binding import Signature
from ofp_edge.policy.imported.program import (
    Identity,
    as_module,
    encoder_signature,
    network_signature,
)
from ofp_edge.policy.imported.program_config import ProgramConfig, ProgramFile
from ofp_edge.policy.methods.method import Act, Deterministic, Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.spec import PolicySpec

Form = Literal["exported", "onnx"]
_METHODS = {"average": "ofp", "velocity": "flow", "chunk": Deterministic.name}
_SUFFIX = {"exported": "pt2", "onnx": "onnx"}
_TRIES, _SEED = 4, 0
_DRAWS = "{} answers the same inputs differently: it draws noise."
_BLIND = "{} answers the same whatever it sees. Are its inputs in order?"


@dataclass(frozen=True)
class Behaviour:
    """What was measured: `largest` is of |u|, or of the chunk, on real inputs; it changes with
    `depends_on`."""

    largest: float
    depends_on: tuple[str, ...]


def import_program(form: Form, path: Path, spec_path: Path) -> Imported:
    """Import it. PolicyError (a refused file), SpecMismatch, CheckFailed (it behaves wrongly)."""
    given = read_spec_file(spec_path)
    require_parts(given.spec.observations)
    suffix = _SUFFIX[form]
    files = {f"program.{suffix}": _read(form, path)}
    if given.encode is not None:
        files[f"encoder.{suffix}"] = _read(form, given.encode)

    def opened() -> tuple[ProgramConfig, PolicyNetwork, Behaviour, list[str]]:
        config, network, moved = _open(form, files, path, given)
        tried = try_out if config.draws else try_chunk
        return config, network, tried(network, str(path)), moved

    try_apart(_one_thread(opened), str(path), PolicyError)
    described, network, behaviour, moved = opened()
    method = _METHODS[given.predicts]
    config = config_of(
        described,
        given.spec,
        given.cameras,
        method,
        given.task,
        path.name,
        described.program.sha256,
    )
    signature = network_signature(given.predicts, given.spec, described.feature_dim)
    about = {
        "largest": behaviour.largest,
        "depends_on": list(behaviour.depends_on),
        "inputs": dict(zip(signature.inputs, described.program.inputs, strict=True)),
        "output": described.program.output,
    }
    return Imported(
        Policy(config, network, field_statistics(given.spec)),
        form,
        files,
        about,
        given.predicts,
        (*moved, *_remarks(behaviour, given)),
    )


def _one_thread(function: Callable[[], object]) -> Callable[[], object]:
    """torch's own threads do not live in a copy of the process."""

    def call() -> object:
        torch.set_num_threads(1)
        return function()

    return call


def _open(
    form: Form, files: dict[str, bytes], path: Path, given: SpecFile
) -> tuple[ProgramConfig, PolicyNetwork, list[str]]:
    moved = []

    def module(file: str, what: Path, wanted: Signature) -> tuple[torch.nn.Module, ProgramFile]:
        names = given.names[wanted.entry]
        made, own = as_module(form, files[file], str(what), wanted, names)
        if own.moved:
            pairs = ", ".join(f"{x} is {y}" for x, y in own.inputs.items())
            moved.append(f"{what}: its inputs stand in another order and go by name: {pairs}.")
        inputs = tuple(own.inputs.values())
        return made, ProgramFile(file, sha256_bytes(files[file]), inputs, own.output)

    encoder, entry, feature_dim = None, None, Identity(given.spec).feature_dim
    if given.encode is not None:
        wanted = encoder_signature(given.spec)
        encoder, entry = module(f"encoder.{_SUFFIX[form]}", given.encode, wanted)
        feature_dim = _feature_dim(encoder, given)
    wanted = network_signature(given.predicts, given.spec, feature_dim)
    program, own = module(f"program.{_SUFFIX[form]}", path, wanted)
    config = ProgramConfig(form, given.predicts, own, entry, feature_dim)
    network = config.around(program, encoder, given.spec, field_statistics(given.spec))
    return config, network, moved


def try_out(network: PolicyNetwork, what: str) -> Behaviour:
    """Run it on inputs from the spec's ranges, at all its times. CheckFailed, PolicyError."""
    spec, act = network.spec, Act(network, Sampling())
    generator = torch.Generator().manual_seed(_SEED)
    largest, depends = 0.0, set()
    with torch.no_grad():
        for _ in range(_TRIES):
            z = torch.randn(1, network.chunk_size, generator=generator)
            first, other = (_features(network, generator, what) for _ in range(2))
            u = _call(network, z, 0.0, 1.0, first, what)
            if not torch.equal(u, _call(network, z, 0.0, 1.0, first, what)):
                raise CheckFailed(_DRAWS.format(what))
            step = act(first, z, torch.tensor([[0.0, 1.0, 1.0]]))[1]
            if not torch.equal(step, z + u):
                raise CheckFailed(f"{what}: at (0, 1) the answer is not z + (1 - 0) u.")
            for at in (0.0, 0.5, 1.0):  # r - t = 0: no step, and nothing divided by it
                _call(network, z, at, at, first, what)
                if not torch.equal(act(first, z, torch.tensor([[at, at, 0.0]]))[1], z):
                    raise CheckFailed(f"{what}: at t = r = {at:g} a step of length 0 moves z.")
            changed = {
                "z": _call(network, z + 0.5, 0.0, 1.0, first, what),
                "t": _call(network, z, 0.4, 1.0, first, what),
                "r": _call(network, z, 0.0, 0.6, first, what),
                "observations": _call(network, z, 0.0, 1.0, other, what),
            }
            depends |= {name for name, x in changed.items() if not torch.allclose(x, u)}
            largest = max(largest, float(u.abs().max()))
    order = [name for name in ("z", "t", "r", "observations") if name in depends]
    if spec.observations and "observations" not in depends:
        raise CheckFailed(_BLIND.format(what))
    return Behaviour(largest, tuple(order))


def try_chunk(network: PolicyNetwork, what: str) -> Behaviour:
    """Run one that is deterministic on inputs from the spec's ranges. CheckFailed, PolicyError."""
    generator = torch.Generator().manual_seed(_SEED)
    largest, moved = 0.0, False
    with torch.no_grad():
        for _ in range(_TRIES):
            first, other = (_features(network, generator, what) for _ in range(2))
            chunk = _checked(_run(network.trunk, [first], what), network, what, "")
            if not torch.equal(chunk, _run(network.trunk, [first], what)):
                raise CheckFailed(_DRAWS.format(what))
            moved |= not torch.allclose(chunk, _run(network.trunk, [other], what))
            largest = max(largest, float(chunk.abs().max()))
    if network.spec.observations and not moved:
        raise CheckFailed(_BLIND.format(what))
    return Behaviour(largest, ("observations",) if moved else ())


def _remarks(behaviour: Behaviour, given: SpecFile) -> tuple[str, ...]:
    if given.predicts == "chunk":
        return ()
    missing = [x for x in ("t", "r") if x not in behaviour.depends_on]
    if given.predicts == "velocity":
        missing = [x for x in missing if x != "r"]
    hint = (
        "If it is a velocity, say so in the spec; if t and r were one tensor when it was exported, "
        "torch took them for one: export it with two."
    )
    return tuple(f"the network's answer does not change with {name}. {hint}" for name in missing)


def _read(form: Form, path: Path) -> bytes:
    data = read_program(path)
    return clean_archive(data, str(path)) if form == "exported" else data


def _feature_dim(encoder: torch.nn.Module, given: SpecFile) -> int:
    generator = torch.Generator().manual_seed(_SEED)
    feature = _run(encoder, _frame(given.spec, generator), str(given.encode))
    if feature.dim() != 2 or len(feature) != 1:
        raise PolicyError(
            f"{given.encode}: expected a feature of shape (1, F), got {tuple(feature.shape)}."
        )
    return feature.shape[1]


def _frame(spec: PolicySpec, generator: torch.Generator) -> list[Tensor]:
    """One frame inside the fields' ranges; images in whole 255ths."""
    frame = []
    for field in spec.observations:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        frame.append(torch.from_numpy(as_input(field.synthetic(rng, (1,)))))
    return frame


def _features(network: PolicyNetwork, generator: torch.Generator, what: str) -> Tensor:
    frames = [_frame(network.spec, generator) for _ in range(network.spec.n_obs_steps)]
    return torch.cat([_run(network.encoder, frame, what) for frame in frames], 1)


def _call(
    network: PolicyNetwork, z: Tensor, t: float, r: float, features: Tensor, what: str
) -> Tensor:
    times = network.time(torch.tensor([t]), torch.tensor([r]))
    u = _run(network.trunk, [z, features, times], what)
    return _checked(u, network, what, f" at t = {t:g}, r = {r:g}")


def _checked(u: Tensor, network: PolicyNetwork, what: str, where: str) -> Tensor:
    if tuple(u.shape) != (1, network.chunk_size):
        spec = network.spec
        raise PolicyError(
            f"{what}: expected an answer of shape (1, {spec.horizon}, {spec.action_dim}), got "
            f"{u.numel()} numbers."
        )
    if not u.isfinite().all():
        raise CheckFailed(f"{what} gives NaN or infinity{where}.")
    return u


def _run(module: torch.nn.Module, inputs: list[Tensor], what: str) -> Tensor:
    """A program called with shapes that are not its own says so in torch's words."""
    try:
        result = module(*inputs)
    except (RuntimeError, AssertionError, ValueError) as cause:
        raise PolicyError(
            f"{what} refuses inputs of the spec's shapes: {str(cause).splitlines()[0]}"
        ) from None
    if not isinstance(result, Tensor) or result.dtype != torch.float32:
        raise PolicyError(f"{what}: expected one float32 tensor as its answer.")
    return result
