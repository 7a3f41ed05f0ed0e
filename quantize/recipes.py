"""Recipes, as data: the precision of each operation of a policy, and the choice of ranges."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ofp_edge.errors import UnknownName


@dataclass(frozen=True)
class Recipe:
    """A way to quantise a policy.

    precision: what the plan's bundle artefacts are called. operations: quantised kinds ("conv2d",
    "conv_transpose2d", "linear"); empty leaves all in float. keep_float: parts that stay in float,
    see `KEEP_FLOAT`. budgeted: layers whose rounding costs most are put back into float, as few as
    meet the error budget.
    """

    name: str
    summary: str
    precision: str
    operations: tuple[str, ...]
    keep_float: tuple[str, ...] = ()
    budgeted: bool = False


METHODS = {
    "min-max": "everything that was seen",
    "percentile": "99.99 % of the values",
    "entropy": "where the least information is lost (Kullback-Leibler, as in TensorRT)",
    "mse": "where rounding and clipping together have the least mean square",
}

# Rules a recipe may name, with the reason that the plan then states.
KEEP_FLOAT = {
    "noise_input": (
        "reads z: the chunk is z + (r - t) u, so rounding z inside u does not cancel and would go "
        "into the action as it is"
    ),
    "velocity_output": (
        "gives u, or the chunk itself: its rounding would go into the action as it is, one step of "
        "its scale at a time"
    ),
    "code_choice": (
        "chooses a code, or is one: of two that round to the same step it would take the mean, and "
        "the chunk would lie between their ways"
    ),
}

_INT8 = Recipe(
    "int8",
    "static symmetric int8: per-tensor activations, per-channel weights",
    "int8",
    ("conv2d", "conv_transpose2d", "linear"),
    ("noise_input", "velocity_output", "code_choice"),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", "every layer in float", "fp32", ()),
        Recipe("fp16", "every layer in half precision: for GPUs", "fp16", ()),
        _INT8,
        replace(
            _INT8, name="mixed", budgeted=True,
            summary="int8, with the fewest layers in float that meet the error budget",
        ),
    )
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """Return the recipe. Raises UnknownName listing them."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return RECIPES[name]
