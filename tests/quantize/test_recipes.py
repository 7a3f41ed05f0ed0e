"""Recipes are data, and an unknown one is named with what there is."""

from __future__ import annotations

import pytest

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.quantize.recipes import KEEP_FLOAT, RECIPES, recipe
from ofp_edge.targets.registry import TARGETS, require_fit, unfit_reason


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'int8'\? Known: fp16, fp32, int8, mixed"):
        recipe("int9")


def test_every_rule_a_recipe_names_exists() -> None:
    for item in RECIPES.values():
        assert set(item.keep_float) <= set(KEEP_FLOAT)
        assert recipe(item.name) is item


@pytest.mark.parametrize("target", TARGETS)
def test_a_recipe_fits_a_target_or_there_is_a_reason(target: str) -> None:
    for name in ("fp32", "int8", "mixed"):
        require_fit(target, name)
    for item in RECIPES.values():
        reason = unfit_reason(TARGETS[target], item)
        assert reason is None or (len(reason) > 20 and item.precision in TARGETS[target].unfit)


@pytest.mark.parametrize("target", ["arm-cpu", "host"])
def test_half_precision_is_refused_on_cpus_with_the_reason(target: str) -> None:
    line = f"recipe fp16 does not fit target {target}: .*no gain.*Fitting: fp32, int8, mixed"
    with pytest.raises(OfpError, match=line):
        require_fit(target, "fp16")
