"""Recipes are data, and an unknown one is named with what there is."""

from __future__ import annotations

import pytest

from ofp_edge.errors import UnknownName
from ofp_edge.quantize.recipes import KEEP_FLOAT, RECIPES, recipe


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'int8'\? Known: fp16, fp32, int8, mixed"):
        recipe("int9")


def test_every_rule_a_recipe_names_exists() -> None:
    for item in RECIPES.values():
        assert set(item.keep_float) <= set(KEEP_FLOAT)
        assert recipe(item.name) is item
