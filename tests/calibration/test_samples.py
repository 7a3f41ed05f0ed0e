"""The file of calibration samples: apart from what checks them, small, refused when it is wrong."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.calibration import choose
from ofp_edge.calibration.choose import check_unseen, choose_samples
from ofp_edge.calibration.samples import CalibrationSet, npz, read_samples
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.runtime.log.recording import CalibrationRecorder
from ofp_edge.spec import PolicySpec
from tests.synthetic import tiny_policy, write_synthetic_dataset


@dataclass
class Chosen:
    policy: Policy
    path: Path
    dataset: Dataset
    found: CalibrationSet

    @property
    def spec(self) -> PolicySpec:
        return self.policy.config.spec


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Chosen:
    root = tmp_path_factory.mktemp("s")
    policy = load_policy(tiny_policy(root / "policy"))
    path = write_synthetic_dataset(root / "d.zarr")
    return Chosen(policy, path, open_dataset(path), choose_samples([path], policy, 24, 0))


def test_samples_and_held_out_windows_share_no_episode(chosen: Chosen) -> None:
    split = chosen.dataset.split()
    assert set(chosen.found.samples.episode.tolist()) <= set(split.train)
    assert set(chosen.found.held_out.episode.tolist()) == set(split.held_out)


def test_an_overlap_is_an_error(chosen: Chosen, tmp_path: Path) -> None:
    mixed = replace(chosen.found, held_out=chosen.found.samples.take([0, 1]))
    (tmp_path / "s.npz").write_bytes(mixed.to_bytes())
    with pytest.raises(OfpError, match="both calibration samples and windows to check"):
        read_samples(tmp_path / "s.npz", chosen.spec)


def test_samples_of_an_episode_held_out_from_training_are_an_error(chosen: Chosen) -> None:
    record = replace(
        chosen.policy.config.training, held_out=(0, 1), dataset_sha256=chosen.dataset.sha256
    )
    policy = replace(chosen.policy, config=replace(chosen.policy.config, training=record))
    with pytest.raises(OfpError, match=r"episode [01], which is held out for evaluation"):
        check_unseen(chosen.found, policy, [chosen.path])
    again = choose_samples([chosen.path], policy, 24, 0)  # chosen for this policy, they are apart
    assert not {0, 1} & set(again.samples.episode.tolist())
    check_unseen(again, policy, [chosen.path])


def test_they_cover_better_than_random_ones(chosen: Chosen) -> None:
    cover = chosen.found.coverage
    assert cover.samples == len(chosen.found.samples) == 24
    assert cover.largest < 0.7 * cover.random_largest
    assert cover.mean <= cover.random_mean


def test_the_file_survives_the_round_trip_and_its_bytes_repeat(
    chosen: Chosen, tmp_path: Path
) -> None:
    (tmp_path / "s.npz").write_bytes(chosen.found.to_bytes())
    assert chosen.found.to_bytes() == (tmp_path / "s.npz").read_bytes()
    back = read_samples(tmp_path / "s.npz", chosen.spec)
    assert (back.source, back.coverage) == ("d.zarr", chosen.found.coverage)
    for a, b in ((back.samples, chosen.found.samples), (back.held_out, chosen.found.held_out)):
        assert all(np.array_equal(a.fields[n], x) for n, x in b.fields.items())
        assert np.array_equal(a.episode, b.episode)


def test_the_file_keeps_to_its_limit(chosen: Chosen, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = len(chosen.found.to_bytes()) * 85 // 100
    monkeypatch.setattr(choose, "LIMIT_BYTES", limit)
    fewer = choose_samples([chosen.path], chosen.policy, 24, 0)
    assert 1 <= len(fewer.samples) < 24 and len(fewer.to_bytes()) <= limit
    kept = set(zip(fewer.samples.episode.tolist(), fewer.samples.frame.tolist(), strict=True))
    both = chosen.found.samples
    assert kept < set(zip(both.episode.tolist(), both.frame.tolist(), strict=True))


def test_a_damaged_or_unfit_file_is_refused(chosen: Chosen, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with pytest.raises(PolicyError, match="missing or damaged"):
        read_samples(path, chosen.spec)
    path.write_bytes(chosen.found.to_bytes())
    longer = replace(chosen.spec, n_obs_steps=chosen.spec.n_obs_steps + 1)
    with pytest.raises(PolicyError, match="expected shape"):
        read_samples(path, longer)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(PolicyError, match="missing or damaged"):
        read_samples(path, chosen.spec)
    path.write_bytes(npz({}, {"kind": "holiday pictures"}))
    with pytest.raises(PolicyError, match="holiday pictures"):
        read_samples(path, chosen.spec)


@pytest.mark.parametrize("episodes", [1, 4])
def test_what_the_loop_recorded_is_split_by_episode_or_by_time(
    chosen: Chosen, tmp_path: Path, episodes: int
) -> None:
    recorder = CalibrationRecorder(tmp_path / "r.npz", chosen.spec, {"first_seed": 0})
    fields = chosen.dataset.fields
    for k in range(40):
        if k % (40 // episodes) == 0:
            number = k // (40 // episodes)
            recorder.write("/event", k, t_ns=k, what="episode", detail="", episode=number)
        inputs = {f.name: fields[f.name][k] for f in chosen.spec.observations}
        while recorder._queue.full():  # as fast as a test is no robot
            pass
        recorder.write("/observation", k, t_obs_ns=k, inputs=inputs, observe_ns=0, encode_ns=0)
    recorder.close()
    found = choose_samples([tmp_path / "r.npz"], chosen.policy, 12, 0)
    assert 8 <= len(found.samples) <= 12 and len(found.held_out) >= 1
    assert not set(found.samples.episode.tolist()) & set(found.held_out.episode.tolist())
    latest = found.held_out.frame.min() if episodes == 1 else found.held_out.episode.min()
    earlier = found.samples.frame.max() if episodes == 1 else found.samples.episode.max()
    assert latest > earlier  # what checks comes from the end


def test_a_policy_s_samples_are_no_source(chosen: Chosen, tmp_path: Path) -> None:
    (tmp_path / "s.npz").write_bytes(chosen.found.to_bytes())
    with pytest.raises(OfpError, match="run --record-calibration"):
        choose_samples([tmp_path / "s.npz"], chosen.policy, 8, 0)


def test_a_file_of_samples_is_no_pickle_no_bomb_and_no_pipe(chosen: Chosen, tmp_path: Path) -> None:
    good = chosen.found.to_bytes()
    arrays = dict(np.load(io.BytesIO(good)))
    bad: dict[str, dict[str, Any]] = {
        "pickled": {**arrays, "episode": np.array([{}], dtype=object)},
        "bomb": {**arrays, "more": np.zeros(300 << 20, np.uint8)},
        "no about": {k: x for k, x in arrays.items() if k != "about"},
        "deep": {**arrays, "about": np.frombuffer(b"[" * 9000, np.uint8)},
        "list": {**arrays, "about": np.frombuffer(b"[]", np.uint8)},
        "floats": {**arrays, "episode": arrays["episode"].astype(np.float64)},
        "scalar": {**arrays, "episode": np.int64(3), "frame": np.int64(3)},
    }
    for name, values in bad.items():
        path = tmp_path / f"{name}.npz"
        np.savez_compressed(path, **values)
        with pytest.raises(PolicyError) as caught:
            read_samples(path, chosen.spec)
        assert str(caught.value).isprintable() and name in str(caught.value)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(PolicyError, match="plain file"):
        read_samples(tmp_path / "pipe.npz", chosen.spec)


@pytest.mark.parametrize("entry", [{"seed": "0"}, {"coverage": None}, {"coverage": {"mean": "x"}}])
def test_what_a_file_of_samples_says_of_itself_is_typed(
    chosen: Chosen, tmp_path: Path, entry: dict[str, Any]
) -> None:
    arrays = dict(np.load(io.BytesIO(chosen.found.to_bytes())))
    about = {**json.loads(arrays.pop("about").tobytes()), **entry}
    (tmp_path / "s.npz").write_bytes(npz(arrays, about))
    with pytest.raises(PolicyError, match="is missing or damaged.*" + next(iter(entry))):
        read_samples(tmp_path / "s.npz", chosen.spec)
