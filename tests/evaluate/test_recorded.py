"""Which recorded episodes a bundle is held against: those that its training held out."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import OfpError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.offline import measure_offline
from tests.evaluate.waves import spec, write_waves
from tests.runtime.small_bundle import write_small_bundle

COLD = Choice(cold=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_waves(tmp_path_factory.mktemp("recorded") / "waves.zarr")


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return open_dataset(data)


def test_a_bundle_knows_which_episodes_were_held_out(
    data: Path, dataset: Dataset, tmp_path: Path
) -> None:
    known = {"dataset_sha256": dataset.sha256, "held_out": [2, 5]}
    write_small_bundle(tmp_path / "bundle", spec(), {}, provenance=known)
    found = measure_offline(tmp_path / "bundle", data, Choice(), samples=2)
    assert found.contestant.engine == "onnxruntime"
    document = found.document
    assert [(run["nfe"], run["start"]) for run in document["runs"]] == [
        (1, "warm"), (1, "cold"), (2, "warm"), (2, "cold"),
    ]  # fmt: skip
    assert (document["episodes"], document["unseen"]) == ([2, 5], True)
    older = write_small_bundle(tmp_path / "older", spec(), {}, provenance={**known, "held_out": []})
    with pytest.raises(OfpError, match="held out none of its episodes"):
        measure_offline(older, data, Choice())


def test_a_bundle_knows_them_of_each_dataset_of_a_mixture(
    data: Path, dataset: Dataset, tmp_path: Path
) -> None:
    known = {
        "dataset_sha256": "0" * 64, "held_out": [1, 2, 13],
        "mixture": [{"sha256": "1" * 64, "held_out": [1]},
                    {"sha256": dataset.sha256, "held_out": [2, 5]}],
    }  # fmt: skip
    write_small_bundle(tmp_path / "bundle", spec(), {}, provenance=known)
    document = measure_offline(tmp_path / "bundle", data, Choice(), samples=2).document
    assert (document["episodes"], document["unseen"]) == ([2, 5], True)


def test_a_bundle_of_before_does_not_know_them(
    data: Path, dataset: Dataset, tmp_path: Path
) -> None:
    known = {"dataset_sha256": dataset.sha256}
    write_small_bundle(tmp_path / "bundle", spec(), {}, provenance=known)
    document = measure_offline(tmp_path / "bundle", data, COLD, samples=1).document
    assert document["episodes"] == list(range(20)) and document["unseen"] is None
    assert "does not say which episodes" in document["why"]
