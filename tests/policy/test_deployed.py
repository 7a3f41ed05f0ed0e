"""The deployed functions answer what the network answers, for every shipped pair of times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ofp_edge.functions import Tensor
from ofp_edge.policy import sampler
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.policy.torch_runner import TorchRunner
from tests.synthetic import N_POINTS, tiny_policy


def frames(policy: Policy) -> list[list[torch.Tensor]]:
    """n_obs_steps frames, each as `encode` takes them."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for _ in range(policy.config.spec.n_obs_steps):
        frame = []
        for field in policy.config.spec.observations:
            shape = (1, 3, 1, N_POINTS) if field.kind == "points" else (1, *field.shape)
            frame.append(torch.rand(shape, generator=generator) * 0.5)
        found.append(frame)
    return found


@pytest.mark.parametrize("codes", [0, 6])
@pytest.mark.parametrize(
    ("obs", "trunk"),
    [("points", "mlp"), ("state", "mlp"), ("state", "unet"), ("state", "transformer")],
)
def test_encode_and_act_equal_the_network_in_one_jump(
    tmp_path: Path, obs: str, trunk: str, codes: int
) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", obs, trunk=trunk, codes=codes))
    deployed = deploy(policy)
    seen = frames(policy)
    with torch.no_grad():
        features = torch.cat([deployed.encode(*frame) for frame in seen], 1)
        stacked = [torch.stack(x, 1) for x in zip(*seen, strict=True)]  # (1, To, ...)
        stacked = [x.squeeze(3) if x.dim() == 5 else x for x in stacked]
        expected = policy.network.encode(stacked)
        torch.testing.assert_close(features, expected, atol=1e-6, rtol=0)
        z = torch.randn(1, policy.network.chunk_size)
        for row in deployed.time_rows:
            chunk, normalised = deployed.act(features, z, torch.tensor([row.row]))
            want = sampler.jump(policy.network, expected, z, row.t, row.r)
            torch.testing.assert_close(normalised, want, atol=1e-5, rtol=0)
            raw = policy.network.denormalize_actions(want).flatten(1)
            torch.testing.assert_close(chunk, raw, atol=1e-5, rtol=0)


def test_time_rows_are_the_policys_pairs(policy: Policy) -> None:
    rows = deploy(policy).time_rows
    assert [(row.name, row.t, row.r) for row in rows] == list(policy.config.time_rows)
    assert [row.name for row in rows] == ["cold", "warm", "refine"]
    assert (rows[0].t, rows[1].t) == (0.0, policy.config.t_w)
    assert all(row.row[-1] == pytest.approx(row.r - row.t) for row in rows)
    assert len({len(row.row) for row in rows}) == 1


def test_inputs_are_declared_as_encode_takes_them(policy: Policy) -> None:
    deployed = deploy(policy)
    assert [x.shape for x in deployed.function("encode").inputs] == [(1, 4), (1, 3, 1, N_POINTS)]
    feature = deployed.encode(*(torch.zeros(x.shape) for x in deployed.function("encode").inputs))
    assert feature.shape == (1, deployed.feature_dim)


def test_graphs_of_an_mlp_hold_no_reshape(policy: Policy) -> None:
    deployed = deploy(policy)
    seen = frames(policy)
    z = torch.zeros(1, policy.network.chunk_size)
    row = torch.tensor([deployed.time_rows[0].row])
    features = torch.cat([deployed.encode(*frame) for frame in seen], 1)
    for module, inputs in ((deployed.encode, tuple(seen[0])), (deployed.act, (features, z, row))):
        graph = torch.export.export(module, inputs).graph
        names = [str(node.target) for node in graph.nodes if node.op == "call_function"]
        banned = ("reshape", "view", "transpose", "permute", "unsqueeze", "norm", "amax", "split")
        assert not [name for name in names if any(word in name for word in banned)]


def test_torch_runner_gives_what_the_module_gives(policy: Policy) -> None:
    deployed = deploy(policy)
    runner = TorchRunner(
        deployed.encode,
        deployed.function("encode").inputs,
        [Tensor("feature", (1, deployed.feature_dim))],
    )
    runner.warm_up()
    kept = runner.outputs["feature"]
    for frame in frames(policy):
        for name, x in zip(runner.inputs, frame, strict=True):
            runner.inputs[name][:] = x.numpy()
        runner.infer()
        assert runner.outputs["feature"] is kept
        expected = deployed.encode(*frame).detach().numpy()
        np.testing.assert_allclose(kept, expected, atol=1e-6)


def test_torch_runner_keeps_both_outputs_of_act(policy: Policy) -> None:
    deployed = deploy(policy)
    size, features = policy.network.chunk_size, 2 * deployed.feature_dim
    row = np.asarray([deployed.time_rows[0].row], np.float32)
    inputs = [Tensor("features", (1, features)), Tensor("z", (1, size)),
              Tensor("time_row", row.shape)]  # fmt: skip
    outputs = [Tensor("chunk", (1, size)), Tensor("chunk_normalised", (1, size))]
    runner = TorchRunner(deployed.act, inputs, outputs)
    runner.inputs["z"][:] = 0.5
    runner.inputs["time_row"][:] = row
    runner.infer()
    want = deployed.act(*(torch.from_numpy(x) for x in runner.inputs.values()))
    for got, expected in zip(runner.outputs.values(), want, strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), atol=1e-6)
