"""What SmolVLA and pi0.5 of the published sizes ask of each Orin, as `compile` adds it up.

    python scripts/vla_floors.py [-o FILE]

Prints one JSON document: by policy, parameters and operations of `encode` and `act`, and by board
the least time of a chunk and the memory to run and to build it (targets/orin_fit.py). Networks have
shapes alone: nothing is downloaded or computed, and nothing of it was measured on a board.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from ofp_edge.boards.orin import orin_boards
from ofp_edge.fields import Rgb, State, Text
from ofp_edge.files import json_bytes, write_bytes
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.deployed import Deployed
from ofp_edge.policy.vla.config import VlaConfig
from ofp_edge.policy.vla.kinds import Pi05Config, SmolVlaConfig
from ofp_edge.policy.vla.sizes import DecoderSizes, FlowSizes, VisionSizes
from ofp_edge.policy.vla.steps import Steps
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.start import Start
from ofp_edge.targets.orin_fit import fit, need_of

HORIZON, JOINTS, STEPS = 50, 7, 10
FLOW = FlowSizes(32, 4e-3, 4.0)


def spec_of(cameras: str) -> PolicySpec:
    """An arm of seven joints and so many cameras."""
    pictures = tuple(
        Rgb(f"rgb_{c}", (3, 480, 640), "1", c, (0.0,) * 3, (1.0,) * 3, c) for c in cameras
    )
    joints = State("state", (JOINTS,), "rad", "base", (-3.0,) * JOINTS, (3.0,) * JOINTS)
    move = ActionField(
        "move", (JOINTS,), "rad", "base", "absolute", 1.0, (-4.0,) * JOINTS, (4.0,) * JOINTS, None
    )
    task = Text("task", choices=("put the cup on the plate",))
    return PolicySpec(
        (*pictures, joints, task), (move,), 1, HORIZON, HORIZON, 20.0,
    )  # fmt: skip


def smolvla(words: int, modes: dict[str, str]) -> SmolVlaConfig:
    """smolvla_base: 512 x 512 pixels, 12 layers of vision, 16 of language and of expert."""
    return SmolVlaConfig(
        VisionSizes(512, 16, 32, 768, 12, 12, 3072, 1e-6, 4, False),
        DecoderSizes(960, 16, 15, 5, 64, 2560, "silu", 1e-5, 1e4),
        DecoderSizes(720, 16, 15, 5, 64, 2048, "silu", 1e-5, 1e4),
        FLOW, words, 49280, STEPS, modes, 1, 32, 2,
    )  # fmt: skip


def pi05(words: int, modes: dict[str, str]) -> Pi05Config:
    """pi05_base: 224 x 224 pixels, 27 layers of vision, 18 of language and of expert."""
    return Pi05Config(
        VisionSizes(224, 14, 16, 1152, 27, 16, 4304, 1e-6, 1, True),
        DecoderSizes(2048, 18, 8, 1, 256, 16384, "gelu_tanh", 1e-6, 1e4),
        DecoderSizes(1024, 18, 8, 1, 256, 4096, "gelu_tanh", 1e-6, 1e4),
        FLOW, words, 257152, STEPS, modes, 5, None,
    )  # fmt: skip


def asked(config: VlaConfig, spec: PolicySpec, row: int, evaluations: int) -> dict[str, Any]:
    """What one policy asks, in fp16. row: length of a time row."""
    ranges = [(f.name, f.low, f.high) for f in spec.observations if isinstance(f, (Rgb, State))]
    ranges += [(f.name, f.low, f.high) for f in spec.actions]
    statistics = {name: FieldStatistics.of_range(low, high) for name, low, high in ranges}
    with torch.device("meta"):
        network = config.build(spec, statistics).to("meta")
    modules = {k: x.eval() for k, x in config.modules(network, Steps(steps=STEPS)).items()}
    functions = config.functions(network, row)
    deployed = Deployed(spec, functions, modules, (), True, evaluations, Start())
    need = need_of(deployed, "fp16", evaluations)
    boards = {name: fit(board, need) for name, board in orin_boards().items()}
    return {"evaluations": evaluations, "costs": need.costs, "boards": boards}


def main() -> int:
    """Print the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="also write it here")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for name, make, cameras, words, row in (
        ("SmolVLA, 2 cameras, 48 words", smolvla, "ab", 48, 721),
        ("pi0.5, 3 cameras, 200 words", pi05, "abc", 200, 113_665),
        ("pi0.5, 2 cameras, 80 words", pi05, "ab", 80, 113_665),
    ):
        modes = {f"rgb_{c}": "identity" for c in cameras} | dict.fromkeys(
            ("state", "move"), "mean_std"
        )
        spec = spec_of(cameras)
        for evaluations in (1, STEPS):
            key = f"{name}, {evaluations} evaluations"
            found[key] = asked(make(words, modes), spec, row, evaluations)
    data = json_bytes({"precision": "fp16", "policies": found})
    if given.output is not None:
        write_bytes(given.output, data)
    sys.stdout.write(data.decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
