"""Recipes: which operations of a policy run in which precision, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ofp_edge.errors import UnknownName


@dataclass(frozen=True)
class Recipe:
    """How to quantise.

    precision: what the plan's bundle artefacts are called. operations: quantised kinds ("conv2d",
    "conv_transpose2d", "linear"); empty leaves all in float. keep_float: parts that stay in float,
    see `KEEP_FLOAT`.
    """

    name: str
    summary: str
    precision: str
    operations: tuple[str, ...]
    keep_float: tuple[str, ...] = ()


# Rules a recipe may name, with the reason that the plan then states.
KEEP_FLOAT = {
    "noise_input": (
        "reads z: the chunk is z + (r - t) u, so rounding z inside u does not cancel and would go "
        "into the action as it is"
    ),
    "velocity_output": (
        "gives u: its rounding would go into the action as it is, one step of its scale at a time"
    ),
}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", "every layer in float", "fp32", ()),
        Recipe(
            "int8",
            "static symmetric int8: per-tensor activations, per-channel weights, min-max ranges",
            "int8",
            ("conv2d", "conv_transpose2d", "linear"),
            ("noise_input", "velocity_output"),
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe, or UnknownName listing them."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return RECIPES[name]
