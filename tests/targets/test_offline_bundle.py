"""A bundle held against recorded episodes says what the policy says that it was compiled from."""

from __future__ import annotations

import pytest

from ofp_edge.bundle import open_bundle
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.offline import measure_offline
from tests.targets.conftest import Built


@pytest.mark.parametrize("engine", ["onnxruntime", "executorch"])
def test_a_bundle_errs_as_its_policy_does(built: Built, engine: str) -> None:
    data = built.policy.parent / "data.zarr"
    of_policy = measure_offline(built.policy, data, Choice(), nfe=[1], samples=2, episodes=[0, 4])
    choice = Choice(engine=engine, precision="fp32")
    of_bundle = measure_offline(built.bundle, data, choice, nfe=[1], samples=2, episodes=[0, 4])
    assert of_bundle.contestant.engine == engine
    for a, b in zip(of_policy.document["runs"], of_bundle.document["runs"], strict=True):
        assert (b["nfe"], b["start"]) == (a["nfe"], a["start"])
        assert b["error_by_step"] == pytest.approx(a["error_by_step"], rel=1e-3)
        assert b["jump"] == pytest.approx(a["jump"], rel=1e-3)
    assert of_bundle.document["baselines"] == of_policy.document["baselines"]


def test_a_bundle_says_which_episodes_were_held_out(built: Built) -> None:
    assert open_bundle(built.bundle).manifest.provenance["held_out"] == []
