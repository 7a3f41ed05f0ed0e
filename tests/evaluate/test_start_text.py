from __future__ import annotations

from typing import Any

import pytest

from ofp_edge.evaluate.start_text import start_text


@pytest.mark.parametrize(
    "t_w, start, guard, said",
    [
        (0.3, (None, 1.0, 1.0), 1, "warm, t_w 0.3"),
        (0.5, (4, 1.0, 0.0), 1, "warm, t_w 0.5, noise 0, cold in 4 evaluations"),
        (0.5, (1, 0.5, 0.25), 3, "warm, t_w 0.5, noise 0.25, cold 0.5, guarded among 3"),
        (None, (4, 0.5, 0.0), 1, "cold, noise 0.5"),
        (None, (None, 1.0, 0.0), 16, "cold, guarded among 16"),
    ],
)
def test_a_start_is_said_where_it_is_not_training_s(
    t_w: float | None, start: tuple[Any, ...], guard: int, said: str
) -> None:
    names = ("cold_nfe", "noise_cold", "noise_warm")
    made = dict(zip(names, start, strict=True))
    assert start_text({"t_w": t_w, "start": made, "guard": guard}) == said


def test_a_start_that_goes_to_the_mean_says_so() -> None:
    made = {"cold_nfe": 4, "noise_cold": 1.0, "noise_warm": 0.0}
    told = {"t_w": 0.5, "start": made, "guard": 1}
    assert start_text({**told, "warm_step": "mean"}).startswith("warm, t_w 0.5 to the mean, noise")
    for step in ("jump", None):
        assert start_text({**told, "warm_step": step}) == start_text(told)
