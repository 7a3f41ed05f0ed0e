"""The estimate for a board: operations counted right, the larger bound taken, memory refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ofp_edge.boards.cpu import board
from ofp_edge.bundle import open_bundle
from ofp_edge.errors import CheckFailed
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.functions import build_functions
from ofp_edge.quantize.plan import read_plan
from ofp_edge.targets.cost import costs
from ofp_edge.targets.fit import memory, require_memory
from ofp_edge.targets.layers import Layer, layers
from ofp_edge.targets.roofline import floor
from tests.targets.conftest import Built

PI = board("raspberry-pi-5")


def test_layers_count_what_torch_counts_and_int8_weights_are_a_quarter(built: Built) -> None:
    policy, plan = load_policy(built.quantised), read_plan(built.quantised)
    assert plan is not None
    deployed = deploy(policy)
    inputs = {x.name: x.inputs for x in deployed.functions}
    counted = costs(deployed)
    quantised = build_functions(deployed, plan)
    for function, module in (("encode", deployed.encode), ("act", deployed.act)):
        real = layers(module, inputs[function])
        eight = layers(quantised[function], inputs[function])
        assert sum(x.flops for x in real) == counted[function]["flops"]
        assert [x.flops for x in eight] == [x.flops for x in real]
        assert {x.precision for x in real} == {"fp32"}
        for a, b in zip(real, eight, strict=True):
            assert b.weight_bytes == a.weight_bytes // (4 if b.precision == "int8" else 1)
        assert any(x.precision == "int8" for x in eight)


def test_the_floor_is_the_larger_of_computing_and_reading() -> None:
    share = PI.threads / PI.cores
    small = Layer("a", "linear", "int8", 10**9, 1000)
    found = floor(PI, {"encode": [], "act": [small]}, 2)
    each_ms = 1e3 * 1e9 / (PI.int8_gops * 1e9 * share)
    assert found["floor_ms"]["act"] == pytest.approx(each_ms)
    assert found["floor_ms"]["chunk"] == pytest.approx(2 * each_ms)
    assert found["streamed_bytes"] == 0 and found["layers"][0]["bound_by"] == "compute"
    # 70 M parameters in fp32 are 280 MB, at 17 GB/s about 16 ms: the caches hold 4 MB of them.
    big = Layer("b", "linear", "fp32", 2 * 70_000_000, 280_000_000)
    found = floor(PI, {"encode": [], "act": [big]}, 1)
    assert found["floor_ms"]["chunk"] == pytest.approx((280e6 - PI.cache_bytes) / 17e9 * 1e3)
    assert found["layers"][0]["bound_by"] == "memory"


def test_the_bundle_tells_its_estimate_and_inspect_its_pieces(built: Built) -> None:
    found = open_bundle(built.bundle).manifest.provenance["estimate"]
    assert found["board"] == "raspberry-pi-5" and found["estimated"] is True
    assert set(found["floors"]) == {"fp32", "int8"}
    assert (
        0
        < found["floors"]["int8"]["floor_ms"]["chunk"]
        < found["floors"]["fp32"]["floor_ms"]["chunk"]
    )
    needed = found["memory"]["needed_bytes"]
    assert set(needed) == {
        f"{e} {p}" for e in ("onnxruntime", "executorch") for p in ("fp32", "int8")
    }
    names = {x["name"] for x in found["floors"]["int8"]["layers"]}
    assert names and not any("frozen" in name for name in names)


def test_too_little_memory_is_refused_with_the_figures() -> None:
    tiny = replace(PI, memory_bytes=600 * 2**20)
    found = memory(tiny, {("executorch", "int8"): 20 * 2**20}, 30 * 2**20)
    with pytest.raises(CheckFailed, match="raspberry-pi-5: executorch int8.*142 MiB.*88 MiB"):
        require_memory(tiny, found, "executorch int8")
    require_memory(PI, memory(PI, {("executorch", "int8"): 20 * 2**20}, 0), "executorch int8")
