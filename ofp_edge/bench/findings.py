"""What a benchmark found, as a table of comparisons and as sentences."""

from __future__ import annotations

from ofp_edge.bench.document import SIGN, Document, many, points
from ofp_edge.bench.tables import TextTable


def comparisons(values: Document) -> TextTable | None:
    """Return the verdicts; None without any."""
    rows = []
    for c in values["comparisons"]:
        e = c["estimate"]
        if e is None:
            continue
        rows.append(
            (
                f"{c['candidate']} − {c['against']}",
                c["group"],
                points(e["mean"]),
                f"{points(e['low'])} … {points(e['high'])}",
                f"{c['pairs']} × {c['episodes']}",
                c["verdict"],
            )
        )
    if not rows:
        return None
    margin = 100 * values["suite"]["evaluate"]["margin"]
    caption = (
        "Mean difference in success over paired episodes (same task, training seed, episode), in "
        "points; 95 % interval by resampling training seeds, then episodes. Pairs: trainings × "
        f"episodes each. better: the interval lies above 0. not worse: above {SIGN}{margin:g}. "
        f"worse: below {SIGN}{margin:g}. open: none of these."
    )
    head = ("difference", "group", "points", "95 % interval", "pairs", "verdict")
    return TextTable("Comparisons", head, rows, caption, 2)


def findings(values: Document) -> list[str]:
    """Return the comparisons as sentences, which say plainly where they fall short."""
    said = []
    target = values["suite"]["evaluate"]["half_width"]
    for c in values["comparisons"]:
        e, who = c["estimate"], f"{c['candidate']} against {c['against']} on {c['group']} tasks"
        if e is None:
            said.append(f"{who}: nothing to compare yet.")
            continue
        margin = f"{100 * c['margin']:g} points"
        text = {
            "better": "better: the whole interval is above 0",
            "not worse": f"not worse by more than {margin}",
            "worse": f"worse, by more than {margin}",
            "open": f"not shown to be within {margin}, nor to be worse by more",
        }[c["verdict"]]
        line = f"{who}: {text} ({points(e['mean'])}, {points(e['low'])} … {points(e['high'])})."
        if not c["narrow_enough"]:
            line += f" Asked for: ± {100 * target:g}; measured: ± {100 * e['half_width']:.1f}"
            if (e["seed_share"] or 0) > 0.5:
                line += ", more than half its variance from the training seeds"
            line += "."
        if e["seed_share"] is None:
            line += " One training seed: it speaks of these weights, not of the method."
        if c["pairs"] < c["planned"]:
            line += f" {c['pairs']} of {c['planned']} trainings so far."
        said.append(line)
    done, planned = len(values["cells"]), values["cells_planned"]
    if done < planned:
        said.append(f"{planned - done} of {planned} cells are not done: tables show a –.")
    said += _ran_away(values)
    made = {cell["made_by"] for cell in values["cells"]}
    if len(made) > 1:
        said.append(f"The episodes were run by {len(made)} versions of the code.")
    return said


def _ran_away(values: Document) -> list[str]:
    """Return a line for each row and task that says which trainings ended before their last
    step."""
    ended: dict[tuple[str, str], dict[int, int]] = {}
    for cell in values["cells"]:
        if cell["training"].get("diverged"):
            last = ended.setdefault((cell["row"], cell["task"]), {})
            last[cell["seed"]] = cell["training"]["steps"]
    return [
        f"{row} on {task}: the loss ran away at {many(len(last), 'training seed')} "
        f"({', '.join(map(str, last))}); evaluated is the last checkpoint before it "
        f"(step {', '.join(map(str, last.values()))})."
        for (row, task), last in ended.items()
    ]
