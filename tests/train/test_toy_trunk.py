"""A trunk of one's own: a file in policy/trunks/ and a preset, and every command takes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ofp_edge.bundle import open_bundle
from ofp_edge.errors import PolicyError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.policy import trunks
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.presets import PRESETS
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.targets.compile import compile_policy
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.needs import needs_engines

pytestmark = pytest.mark.usefixtures("exports")

TRUNK = '''
"""`toy`: one hidden layer over noise, features and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.trunks.trunk import Trunk, TrunkConfig, zero


@dataclass(frozen=True)
class ToyConfig(TrunkConfig):
    """width: of the hidden layer."""

    kind: ClassVar[str] = "toy"
    width: int


class ToyTrunk(Trunk):
    """See Trunk."""

    sizes: ClassVar[type[TrunkConfig]] = ToyConfig

    def __init__(
        self, sizes: ToyConfig, condition: int, horizon: int, action_dim: int, features: int
    ) -> None:
        super().__init__(sizes, condition, horizon, action_dim, features)
        self.inlet = nn.Linear(horizon * action_dim, sizes.width)
        self.modulate = nn.Linear(condition, sizes.width)
        self.outlet = nn.Linear(sizes.width, horizon * action_dim)
        zero(self.outlet)

    def forward(self, z: Tensor, features: Tensor, time: Tensor) -> Tensor:
        """See Trunk."""
        hidden = self.inlet(z) + self.modulate(self.condition(features, time))
        return self.outlet(F.silu(hidden))


TRUNK = ToyTrunk
'''


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The two entries, for as long as this file's tests run."""
    folder, name = tmp_path_factory.mktemp("trunks"), f"{trunks.__name__}.toy"
    (folder / "toy.py").write_text(TRUNK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trunks, "__path__", [*trunks.__path__, str(folder)])
        network = PRESETS["tiny"].network
        sizes = trunks.find_trunks()["toy"].sizes(width=24)  # type: ignore[call-arg]
        chosen = replace(PRESETS["tiny"], name="toy", network=replace(network, trunk=sizes))
        patch.setitem(PRESETS, "toy", chosen)
        yield
    del sys.modules[name]


@pytest.fixture(scope="module")
def trained(toy: None, state_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "policy"
    train(make_plan(Request(state_data, folder, preset="toy", steps=12)))
    return folder


def chunk(inference: Inference) -> np.ndarray:
    spec = inference.spec
    inference.reseed(0)
    for k in range(spec.n_obs_steps):
        seen = {f.name: np.full(f.shape, 0.1 * k, np.float32) for f in spec.observations}
        inference.observe(k * spec.dt_ns, seen)
    return inference.infer((spec.n_obs_steps - 1) * spec.dt_ns).actions.copy()


def test_it_trains_and_loads_as_it_was_saved(trained: Path, state_data: Path) -> None:
    policy = load_policy(trained)
    assert policy.config.to_json()["network"]["trunk"] == {"kind": "toy", "width": 24}
    assert policy.network.trunk.outlet.weight.any()  # new ones are the constant 0
    plan = make_plan(Request(state_data, trained, resume=True))
    assert plan.resumed_from == 12
    saved, resumed = policy.network.state_dict(), plan.policy.network.state_dict()
    assert all(torch.equal(resumed[name], x) for name, x in saved.items())


def test_without_its_file_the_policy_is_refused_by_name(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunks, "__path__", trunks.__path__[:1])
    with pytest.raises(PolicyError, match=r"trunk\.kind: expected one of mlp, .*, got 'toy'"):
        load_policy(trained)


@pytest.mark.slow
def test_it_compiles_and_every_engine_answers_as_torch_does(trained: Path, tmp_path: Path) -> None:
    needs_engines()
    compile_policy(trained, "host", tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    expected = chunk(open_contestant(trained, Choice()).inference)
    assert expected.std() > 1e-4
    assert set(bundle.engines()) == {("onnxruntime", "fp32"), ("executorch", "fp32")}
    for engine, precision in bundle.engines():
        inference = load_inference(bundle, engine, precision)
        np.testing.assert_allclose(chunk(inference), expected, atol=1e-4)
        inference.close()
