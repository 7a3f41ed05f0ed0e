"""What an offline evaluation says, and what it does not, in a few sentences."""

from __future__ import annotations

from typing import Any

BLIND = {
    "still": "standing still",
    "repeat": "repeating the last action",
    "mean": "the mean action",
}
"""The plans of those who see nothing, by the name they have in the document."""


def best_blind(values: dict[str, Any], row: int | None = None) -> tuple[str, float]:
    """Return the name and the error of the nearest plan that sees nothing: in all, or of a row."""
    found = [
        (x["name"], x["error"] if row is None else x["quantities"][row]["mean"])
        for x in values["baselines"]
    ]
    name, error = min(found, key=lambda item: item[1])
    return str(name), float(error)


def worse_rows(values: dict[str, Any]) -> list[str]:
    """Return the names of the quantities in which a plan that sees nothing is nearer."""
    rows = values["runs"][0]["quantities"]
    return [row["name"] for i, row in enumerate(rows) if row["mean"] > best_blind(values, i)[1]]


def verdict(values: dict[str, Any]) -> list[str]:
    """Return the sentences, from an otherwise complete `recorded` document."""
    return [
        _against_the_blind(values),
        *_worse(values),
        _unseen(values),
        *_more_evaluations(values),
        *_outside(values),
        _caution(values),
    ]


def _against_the_blind(values: dict[str, Any]) -> str:
    run, (name, blind) = values["runs"][0], best_blind(values)
    best = [min(x) for x in zip(*(b["error_by_episode"] for b in values["baselines"]), strict=True)]
    nearer = sum(a < b for a, b in zip(run["error_by_episode"], best, strict=True))
    where = f"in {nearer} of {len(best)} episodes"
    if not run["error"] < blind:
        return (
            f"No nearer to what was recorded than a plan that sees nothing: off by "
            f"{run['error']:.3g} spreads, {BLIND[name]} by {blind:.3g}; nearer {where}. Nothing "
            "here speaks for letting it move a robot."
        )
    times = f"{blind / run['error']:.3g} times" if run["error"] > 0 else "infinitely"
    return (
        f"Nearer to what was recorded than any plan that sees nothing: off by {run['error']:.3g} "
        f"spreads, {BLIND[name]} by {blind:.3g}, {times} as far; nearer {where}."
    )


def _worse(values: dict[str, Any]) -> list[str]:
    names = worse_rows(values)
    if not names:
        return []
    return [f"A plan that sees nothing is nearer in {_listed(names)}: look at them first."]


def _unseen(values: dict[str, Any]) -> str:
    why = values["why"]
    short = values["left_out"]
    tail = (
        f" Left out as shorter than a chunk: episode {_listed(map(str, short))}." if short else ""
    )
    if values["unseen"]:
        return f"{why[0].upper()}{why[1:]}.{tail}"
    return f"These errors may flatter: {why}.{tail}"


def _more_evaluations(values: dict[str, Any]) -> list[str]:
    cold = {run["nfe"]: run for run in values["runs"] if run["start"] == "cold"}
    return [
        f"From the same noise, {x['nfe'][1]} evaluations in place of {x['nfe'][0]}: off by "
        f"{cold[x['nfe'][1]]['error']:.3g} in place of {cold[x['nfe'][0]]['error']:.3g} spreads, "
        f"{x['distance']:.3g} from each other."
        for x in values["between"]
    ]


def _outside(values: dict[str, Any]) -> list[str]:
    found = values["outside"]
    if not found:
        return []
    most = max(found, key=lambda x: int(x["frames"]))
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return [
        f"Seen outside of the range of {values['outside_of']}: {most['name']} in {most['frames']} "
        f"of {values['frames']} frames{more}."
    ]


def _caution(values: dict[str, Any]) -> str:
    run, ways = values["runs"][0], ""
    if values["samples"] > 1:
        ways = (
            f" (two noises are {run['disagreement']:.3g} apart; the nearest of "
            f"{values['samples']} is off by {run['best_of']:.3g})"
        )
    return (
        "An offline error is no success rate: a robot that follows its plans gets to where nothing "
        f"was recorded, and where there are several right ways a good plan may be far off{ways}."
    )


def _listed(names: Any) -> str:
    every = list(names)
    return ", ".join(every[:8]) + (f" and {len(every) - 8} more" if len(every) > 8 else "")
