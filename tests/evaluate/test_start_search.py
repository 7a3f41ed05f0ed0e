"""The search of `tune` over starts: what is tried, what goes on, what is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from ofp_edge.evaluate import sound_noise  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.halving import FINALISTS, halve, rungs  # noqa: E402
from ofp_edge.evaluate.tuning import (  # noqa: E402
    COLD_NOISES,
    WARM_NOISES,
    WARM_TIMES,
    Measured,
    Setting,
    choose_start,
    known_starts,
    settings_around,
)
from ofp_edge.policy.presets import PRESETS  # noqa: E402
from ofp_edge.start import WARM_STEPS, Start, way_of  # noqa: E402

LADDER = Start(cold_nfe=4)
EVERY = settings_around(LADDER, COLD_NOISES, warm=True, jumps=True)
BEST = Setting(0.3, Start(4, 1.0, 0.25), "mean")


def measured(setting: Setting, good: int, of: int = 100, jump: float = 0.1) -> Measured:
    return Measured(setting, tuple([1.0] * good + [0.0] * (of - good)), jump, None, {})


def test_every_time_is_tried_with_every_noise() -> None:
    ways = len(WARM_TIMES) * len(WARM_NOISES) * len(COLD_NOISES)
    assert len(EVERY) == len(set(EVERY)) == len(WARM_STEPS) * ways
    one_way = settings_around(LADDER, COLD_NOISES, warm=True, jumps=False)
    assert len(one_way) == ways and {x.warm_step for x in one_way} == {None}
    assert BEST in EVERY and all(x.start.cold_nfe == 4 for x in EVERY)
    alone = settings_around(Start(), COLD_NOISES, warm=False, jumps=False)
    assert [(x.t, x.start.noise_cold) for x in alone] == [(None, x) for x in COLD_NOISES]
    assert {x.start.noise_cold for x in settings_around(LADDER, (1.0,), warm=True, jumps=True)} == {
        1.0
    }


def test_a_setting_is_the_options_of_a_run() -> None:
    noises = {"noise_cold": 1.0, "noise_warm": 0.25}
    assert BEST.choice(1) == Choice(nfe=1, t_w=0.3, warm_step="mean", cold_nfe=4, **noises)
    assert BEST.to_json() == {"t": 0.3, "warm_step": "mean", **noises}
    assert Setting(None, Start(noise_cold=0.5)).choice(100) == Choice(nfe=100, noise_cold=0.5)


@pytest.mark.parametrize("settings, episodes", [(72, 100), (24, 100), (3, 10), (5, 1), (72, 3)])
def test_fewer_settings_go_on_to_more_episodes(settings: int, episodes: int) -> None:
    rounds = rungs(settings, episodes)
    counts, seen = zip(*rounds, strict=True)
    assert counts[0] == settings and counts[-1] <= max(FINALISTS, settings if settings < 5 else 0)
    assert list(counts) == sorted(counts, reverse=True) and list(seen) == sorted(seen)
    assert seen[-1] == episodes and seen[0] >= 1
    new = [b - a for a, b in zip((0, *seen), seen, strict=False)]  # what was run is not run again
    assert sum(a * b for a, b in zip(counts, new, strict=True)) <= settings * episodes


def score(setting: Setting) -> float:
    """The nearer to BEST the better."""
    t = 0.0 if setting.t is None else setting.t
    noises = abs(setting.start.noise_warm - 0.25) + abs(setting.start.noise_cold - 1.0)
    return 1.0 - abs(t - 0.3) - noises - 0.01 * (setting.warm_step != BEST.warm_step)


def test_the_better_ones_go_on_and_the_present_one_is_there_to_the_end() -> None:
    asked: list[tuple[int, int]] = []

    def measure(settings: Sequence[Setting], episodes: int) -> list[Measured]:
        asked.append((len(settings), episodes))
        assert len(set(settings)) == len(settings)
        return [Measured(x, (score(x),) * episodes, None, None, {}) for x in settings]

    present = Setting(0.7, Start(4, 0.0, 0.0), "jump")  # in the grid, and bad
    found = halve(EVERY, [present], 100, measure)
    assert max(found, key=lambda x: x.rank).setting == BEST
    assert found[-1].setting == present and len(found) == FINALISTS + 1
    assert all(len(x.scores) == 100 for x in found)
    assert asked[0] == (len(EVERY), 12) and asked[-1] == (FINALISTS + 1, 100)
    odd = Setting(0.36, Start(4, 0.9, 0.9))  # not in the grid
    assert [x.setting for x in halve(EVERY, [odd, odd], 100, measure)].count(odd) == 1


@pytest.mark.parametrize("jumps", [True, False])
def test_what_was_the_best_somewhere_is_measured_to_the_end(jumps: bool) -> None:
    every = settings_around(LADDER, COLD_NOISES, warm=True, jumps=jumps)
    known = known_starts(LADDER, COLD_NOISES, warm=True, jumps=jumps)
    assert len(set(known)) >= 2 and set(known) < set(every)

    def measure(settings: Sequence[Setting], episodes: int) -> list[Measured]:
        # On few episodes the last one of the known looks the worst of all, and is the best.
        unlucky = 1.0 if episodes == 100 else -9.0
        return [
            Measured(x, (unlucky if x == known[-1] else score(x) / 2,) * episodes, None, None, {})
            for x in settings
        ]

    found = halve(every, known, 100, measure)
    assert max(found, key=lambda x: x.rank).setting == known[-1]


def test_no_known_start_has_a_cold_noise_that_loses_a_side() -> None:
    for jumps in (True, False):
        known = known_starts(LADDER, (1.0,), warm=True, jumps=jumps)
        assert known and {x.start.noise_cold for x in known} == {1.0}
    assert known_starts(Start(), COLD_NOISES, warm=False, jumps=False) == []


def test_a_new_policys_own_start_is_among_them() -> None:
    rows, start = PRESETS["small"].starts(jumps=True)
    t, r = next((t, r) for name, t, r in rows if name == "warm")
    assert Setting(t, start, way_of(t, r)) in known_starts(
        start, COLD_NOISES, warm=True, jumps=True
    )


def test_of_what_cannot_be_told_apart_the_most_noise_at_a_cold_start_is_taken() -> None:
    silent = Setting(0.3, Start(noise_cold=0.0, noise_warm=0.0))
    loud = Setting(0.3, Start(noise_cold=1.0, noise_warm=0.0))
    chosen, _ = choose_start([measured(silent, 91, jump=0.01), measured(loud, 90, jump=0.5)])
    assert chosen.setting == loud
    chosen, _ = choose_start([measured(silent, 99), measured(loud, 60)])
    assert chosen.setting == silent, "what is proven better is taken all the same"


@pytest.mark.parametrize(
    "shares, kept",
    [
        ({0.0: (0.02, 0.9, 1.1), 0.5: (0.02, 1.0, 1.0), 1.0: (0.02, 1.0, 1.0)}, (0.0, 0.5, 1.0)),
        ({0.0: (0.02, 0.7, 1.3), 0.5: (0.02, 1.2, 0.8), 1.0: (0.02, 1.0, 1.0)}, (0.5, 1.0)),
        ({0.0: (0.04, 1.0, 1.0), 0.5: (0.029, 1.0, 1.0), 1.0: (0.02, 1.0, 1.0)}, (0.5, 1.0)),
        ({0.0: (0.0, 0.0, 2.0), 0.5: (0.0, 0.1, 1.9), 1.0: (0.02, 0.1, 1.9)}, (1.0,)),
    ],
)
def test_a_noise_that_loses_a_side_or_lands_between_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, shares: dict[float, tuple[float, float, float]],
    kept: tuple[float, ...],
) -> None:  # fmt: skip
    seeds: list[Any] = []

    def modes(path: Path, task: str, *, noise_cold: float, **more: Any) -> Any:
        seeds.append(more["seeds"])
        between, left, right = shares[noise_cold]
        return SimpleNamespace(
            shares=SimpleNamespace(between=between), keeps_left=left, keeps_right=right
        )

    monkeypatch.setattr(sound_noise, "measure_modes", modes)
    assert sound_noise.sound_cold_noises(Path("p"), "planar/obstacle") == kept
    assert min(map(min, seeds)) >= sound_noise.VALIDATION, "never on evaluation's episodes"
    assert sound_noise.sound_cold_noises(Path("p"), "metaworld/door-open") == COLD_NOISES
    two_sided = "metaworld/button-press-topdown-two-sided"
    assert sound_noise.sound_cold_noises(Path("p"), two_sided) == kept
