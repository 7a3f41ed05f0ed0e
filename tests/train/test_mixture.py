"""Several datasets at once: drawn by their shares, split and normalised together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ofp_edge.calibration.choose import check_unseen, choose_samples
from ofp_edge.cli.main import build_app
from ofp_edge.data.mixture import Mixture, mixture_of
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import OfpError, SpecMismatch
from ofp_edge.policy.folder import load_policy
from ofp_edge.spec import Chunking, PolicySpec
from ofp_edge.train.loop import train
from ofp_edge.train.mixed import MixedBatches, batches_of
from ofp_edge.train.plan import make_plan
from ofp_edge.train.stream import streaming
from tests.synthetic import write_synthetic_dataset
from tests.train.test_loop import stop_at


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("d")
    return (
        write_synthetic_dataset(folder / "a.zarr", obs="state", episodes=12),
        write_synthetic_dataset(folder / "b.zarr", obs="state", episodes=5, seed=9),
    )


def mixed(two: tuple[Path, Path], weights: Any = None) -> Mixture:
    found = mixture_of([open_dataset(x) for x in two], weights)
    assert isinstance(found, Mixture)
    return found


def spec_of(data: Mixture) -> PolicySpec:
    return PolicySpec.of(data.interface, Chunking(2, 8, 4, data.control_hz))


def test_each_holds_out_its_own_and_ranges_span_all(two: tuple[Path, Path]) -> None:
    one, other = (open_dataset(x) for x in two)
    found = mixed(two, [3.0, 1.0])
    assert found.shares == (0.75, 0.25)
    assert found.split().held_out == (11, 12 + 4)
    assert found.split().train == (*range(11), *range(12, 16))
    statistics = found.statistics(found.split().train)
    parts = [x.statistics(x.split().train) for x in (one, other)]
    for name, value in statistics.items():
        assert value.low == tuple(np.minimum(parts[0][name].low, parts[1][name].low))
        assert value.high == tuple(np.maximum(parts[0][name].high, parts[1][name].high))
    drawn = np.concatenate(
        [np.tile(one.action[one.frames(one.split().train)], (3 * len_of(other), 1)),
         np.tile(other.action[other.frames(other.split().train)], (len_of(one), 1))]
    )  # fmt: skip
    drawn = drawn.astype(np.float64)
    first = found.interface.actions[0]
    np.testing.assert_allclose(
        statistics[first.name].mean, drawn[:, : first.shape[0]].mean(0), atol=1e-6
    )
    np.testing.assert_allclose(
        statistics[first.name].std, drawn[:, : first.shape[0]].std(0), rtol=1e-5
    )


def len_of(dataset: Any) -> int:
    return len(dataset.frames(dataset.split().train))


@pytest.mark.parametrize("weights", [None, [1.0, 4.0]])
def test_windows_are_drawn_by_their_shares_and_evenly_within(
    two: tuple[Path, Path], weights: Any
) -> None:
    found = mixed(two, weights)
    batches = batches_of(found, found.split().train, spec_of(found))
    assert isinstance(batches, MixedBatches)
    first = len_of(found.parts[0])
    seen = np.zeros(len(batches))
    with streaming(batches, 500, 0, 0, 0, 1, 0) as stream:
        for step in range(400):
            np.add.at(seen, stream.rows(step).numpy(), 1)
    share = seen[:first].sum() / seen.sum()
    assert share == pytest.approx(found.shares[0], abs=0.01)
    if weights is None:
        assert found.shares[0] == pytest.approx(first / len(batches))
    for part in (seen[:first], seen[first:]):
        assert abs(part - part.mean()).max() < 5 * part.mean() ** 0.5


def test_a_window_is_the_one_of_its_dataset(two: tuple[Path, Path]) -> None:
    found = mixed(two)
    batches = batches_of(found, found.split().train, spec_of(found))
    alone = [batches_of(x, x.split().train, spec_of(found)) for x in found.parts]
    rows = torch.randperm(len(batches))[:100]
    seen, actions = batches.read(rows)
    for number, row in enumerate(rows.tolist()):
        part, own = (0, row) if row < len(alone[0]) else (1, row - len(alone[0]))
        want, act = alone[part].read(torch.tensor([own]))
        assert torch.equal(actions[number], act[0])
        assert all(torch.equal(x[number], y[0]) for x, y in zip(seen, want, strict=True))


def test_processes_share_a_mixed_batch(two: tuple[Path, Path]) -> None:
    found = mixed(two, [1.0, 2.0])
    batches = batches_of(found, found.split().train, spec_of(found))
    with streaming(batches, 12, 3, 0, 0, 1, 0) as stream:
        whole = stream.rows(7)
    for rank in range(2):
        with streaming(batches, 12, 3, 0, rank, 2, 0) as stream:
            assert torch.equal(stream.rows(7), whole[rank::2])


def test_a_run_on_a_mixture_goes_on_as_it_would_have(
    ask: Any, two: tuple[Path, Path], tmp_path: Path
) -> None:
    both = {"dataset": two[0], "mixed": two[1:], "weights": (1.0, 2.0)}

    train(make_plan(ask(**both, output=tmp_path / "a", steps=20)))
    part = train(
        make_plan(ask(**both, output=tmp_path / "b", steps=20)), progress=stop_at(10), workers=2
    )
    assert part.interrupted
    train(make_plan(ask(**both, output=tmp_path / "b", resume=True)))
    one, other = (load_policy(tmp_path / x).network.state_dict() for x in "ab")
    assert all(torch.equal(one[n], other[n]) for n in one)
    record = load_policy(tmp_path / "a").config.training
    assert [(x.dataset, x.held_out) for x in record.mixture] == [
        ("a.zarr", (11,)), ("b.zarr", (4,)),
    ]  # fmt: skip
    assert record.held_out_of(open_dataset(two[1]).sha256) == (4,)
    assert record.held_out_of("0" * 64) is None


def test_held_out_episodes_of_each_stay_out_of_calibration(
    ask: Any, two: tuple[Path, Path], tmp_path: Path
) -> None:
    train(make_plan(ask(dataset=two[0], mixed=two[1:], output=tmp_path / "p", steps=5)))
    found = choose_samples([two[1]], load_policy(tmp_path / "p"), 64, 0)
    assert not set(found.samples.episode.tolist()) & {4}


def test_calibration_samples_are_of_all_datasets_and_known_as_the_training_knows_them(
    ask: Any, two: tuple[Path, Path], tmp_path: Path
) -> None:
    train(make_plan(ask(dataset=two[0], mixed=two[1:], output=tmp_path / "p", steps=5)))
    policy = load_policy(tmp_path / "p")
    record = policy.config.training
    found = choose_samples(two, policy, 64, 0)
    assert found.source_sha256 == record.dataset_sha256 and found.source == "a.zarr + b.zarr"
    assert set(found.held_out.episode.tolist()) == set(record.held_out) == {11, 16}
    first = [open_dataset(x).episodes for x in two][0]
    samples = found.samples.episode
    assert (samples < first).any() and (samples >= first).any()
    check_unseen(found, policy, two)
    with pytest.raises(OfpError, match="episode 11, which is held out"):
        check_unseen(replace(found, samples=found.held_out, held_out=found.samples), policy, two)
    assert choose_samples(two[::-1], policy, 8, 0).source_sha256 != record.dataset_sha256
    with pytest.raises(OfpError, match=r"holds the same as .*a\.zarr: give it once"):
        choose_samples((two[0], two[0]), policy, 8, 0)
    (tmp_path / "s.npz").write_bytes(found.to_bytes())
    with pytest.raises(OfpError, match=r"s\.npz: expected a dataset, as there are several"):
        choose_samples((two[0], tmp_path / "s.npz"), policy, 8, 0)


def test_what_differs_is_named_field_by_field(two: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = (open_dataset(x) for x in two)

    def refused(changed: Any, *words: str) -> None:
        with pytest.raises((OfpError, SpecMismatch)) as caught:
            mixture_of([one, changed], None)
        assert all(word in str(caught.value) for word in words), caught.value

    state, *_ = other.interface.observations
    act, *acts = other.interface.actions
    refused(replace(other, control_hz=7.0), "control_hz", "got 7")
    for entry, value in (("unit", "mm"), ("frame", "tool"), ("kind", "velocity")):
        actions = (
            replace(act, **{entry: value, **({"hold": 0.0} if entry == "kind" else {})}),
            *acts,
        )
        interface = replace(other.interface, actions=actions)
        refused(replace(other, interface=interface), f"action {act.name!r}", entry, value)
    named = replace(other.interface, observations=(replace(state, name="pose"),))
    refused(replace(other, interface=named), "observation fields", "pose")
    refused(one, "holds the same")
    with pytest.raises(OfpError, match="expected 2 numbers"):
        mixture_of([one, other], [1.0])
    for weight in (0.0, -1.0, float("nan")):
        with pytest.raises(OfpError, match="Leave the dataset out"):
            mixture_of([one, other], [1.0, weight])
    assert mixture_of([one], None) is one


def test_the_command_mixes_and_says_so(two: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["train", *map(str, two), "-o", str(tmp_path / "p"), "--preset", "tiny", "--steps", "5"]
    done = CliRunner().invoke(build_app(), [*words, "--weights", "1,3"])
    assert done.exit_code == 0, done.output
    assert "25.0% of the windows" in done.output and "75.0% of the windows" in done.output
    document = json.loads(CliRunner().invoke(build_app(), [*words, "--json", "--force"]).stdout)
    assert [x["dataset"] for x in document["mixture"]] == ["a.zarr", "b.zarr"]
    wrong = CliRunner().invoke(build_app(), [*words, "--force", "--weights", "1;3"])
    assert wrong.exit_code == 1
