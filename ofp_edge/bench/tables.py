"""The tables of a benchmark as rows of text, the same for Markdown and HTML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ofp_edge.bench.document import Document, begun, find_row, many, points, short_names, variants
from ofp_edge.evaluate.tuning import CHOSEN


@dataclass(frozen=True)
class TextTable:
    """A table: a heading, the columns, the rows, and what a reader must know about the figures."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    caption: str
    text_columns: int = 1


def success(values: Document) -> TextTable:
    """Return success in %, with a line for each row and nfe and a column for each task that has a
    result, after the means over the tasks of a group that every row has."""
    shown = variants(values)
    tasks, every = begun(values), len(values["suite"]["tasks"])
    short = short_names(tasks)
    means = {title: held for title, held in _in_all_rows(values).items() if len(held) > 1}
    rows = []
    for name, nfe in shown:
        entry = {task: find_row(values, task, name, nfe) for task in tasks}
        mean = [sum(entry[t]["success"] for t in held) / len(held) for held in means.values()]
        rows.append(
            (
                f"{name} @{nfe}",
                *(f"{100 * x:.1f}" for x in mean),
                *(_rate(entry[task]) for task in tasks),
            )
        )
    seeds, e = values["suite"]["seeds"], values["suite"]["evaluate"]
    caption = (
        f"Mean over {many(len(seeds), 'training seed')}, in brackets its 95 % interval (bootstrap "
        "over training seeds and episodes). @: network evaluations a chunk. "
        f"{e['episodes']} or more unseen episodes a training seed, the same for every row."
    )
    if any(len(held) < len(tasks) for held in means.values()):
        caption += " A mean is over the tasks that every row has."
    if len(tasks) < every:
        caption += f" {every - len(tasks)} of {every} tasks have no result yet."
    return TextTable("Success, %", ("row", *means, *(short[t] for t in tasks)), rows, caption)


def _in_all_rows(values: Document) -> dict[str, list[str]]:
    """The tasks of each group of which every shown row has a result, by what their mean is called;
    without the group's name where all tasks are of one."""
    shown = variants(values)
    groups: dict[str, list[str]] = {}
    for task in values["suite"]["tasks"]:
        if all(find_row(values, task["name"], *x)["success"] is not None for x in shown):
            groups.setdefault(task["group"], []).append(task["name"])
    one = len({task["group"] for task in values["suite"]["tasks"]}) == 1
    return {
        f"mean of {len(held)}" + ("" if one else f", {group}"): held
        for group, held in groups.items()
    }


def modes(values: Document) -> TextTable | None:
    """Return the chunks between the modes, the sides and the flips; None where no task has two
    sides."""
    rows = []
    for task in values["suite"]["tasks"]:
        if task["group"] != "two-sided":
            continue
        shares = None
        for name, nfe in variants(values):
            e = find_row(values, task["name"], name, nfe)
            if e["between"] is None:
                continue
            shares = e["demonstrations"]
            kept = min(e[side] / shares[side] for side in ("left", "right"))
            flips = "–" if e["flips"] is None else f"{e['flips']:.3f}"
            rows.append(
                (
                    short_names([task["name"]])[task["name"]],
                    f"{name} @{nfe}",
                    f"{100 * e['between']:.1f}",
                    f"{100 * e['left']:.0f} / {100 * e['right']:.0f}",
                    f"{100 * kept:.0f}",
                    flips,
                )
            )
        if isinstance(shares, dict):
            rows.append(
                (
                    short_names([task["name"]])[task["name"]],
                    "demonstrations",
                    f"{100 * shares['between']:.1f}",
                    f"{100 * shares['left']:.0f} / {100 * shares['right']:.0f}",
                    "–",
                    "–",
                )
            )
    if not rows:
        return None
    caption = (
        f"Of {values['suite']['evaluate']['chunks']} cold chunks, one a state (with a guard, the "
        "one it chooses): plans that run between the two sides. Kept: what is left of a side's "
        "share of the demonstrations, on the side that keeps less. Flips: changes of side between "
        "an episode's consecutive plans, mean, run as the row is run."
    )
    head = ("task", "row", "between, %", "left / right, %", "kept, %", "flips")
    return TextTable("Between the modes", head, rows, caption, 2)


def tuning(values: Document) -> TextTable | None:
    """Return what `tune` chose for the tuned rows; None where there are none."""
    found: dict[tuple[str, str], dict[int, Document]] = {}
    for cell in values["cells"]:
        if cell["tuning"]:
            name = f"{cell['row']} @{cell['nfe']}"
            of_row = found.setdefault((cell["task"], name), {})
            of_row[cell["seed"]] = cell["tuning"]
    if not found:
        return None
    short = short_names([task["name"] for task in values["suite"]["tasks"]])
    e, rows = values["suite"]["evaluate"], []
    for (task, name), of_seed in found.items():
        tuned = of_seed.values()
        best = [max(t["refine"], key=lambda x: x["difference"]) for t in tuned if t["refine"]]
        starts = [[t["chosen"].get(x) for t in tuned] for x in CHOSEN]
        refined = sum(t["chosen"].get("refine", False) for t in tuned)
        rows.append(
            (
                short[task],
                name,
                *(", ".join(map(_chosen, start)) for start in starts),
                ", ".join(points(second["difference"]) for second in best) or "–",
                ", ".join(f"{second['t']:g}" for second in best) or "–",
                f"{refined} of {len(tuned)}" if best else "–",
            )
        )
    caption = (
        f"A figure a training seed, on {e.get('tuned_on', e['episodes'])} validation episodes a "
        "setting, none of them among the evaluated ones. way: on from a warm start. cold, warm: "
        "the noise of a start without and with a last plan, of training's. a2 − a1: success of a "
        "refined chunk less that of one evaluation, in points, at the t_refine where it is "
        "largest, so too high by choice; refined: where it was shown to be more than 0. The rows "
        "run with this start and do not refine."
    )
    head = ("task", "row", "t_w", "way", "cold", "warm", "a2 − a1", "t_refine", "refined")
    return TextTable("What tune chooses", head, rows, caption, 2)


def _chosen(value: float | str | None) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:g}"


def motion(values: Document) -> TextTable | None:
    """Return how smooth the motion is: jump and jerk, means over tasks; None before any
    episode."""
    rows = []
    for name, nfe in variants(values):
        entries = [r for r in values["rows"] if (r["row"], r["nfe"]) == (name, nfe)]
        cells = []
        for key in ("jump", "jerk"):
            known = [r[key] for r in entries if r[key] is not None]
            cells.append(f"{sum(known) / len(known):.3f}" if known else "–")
        rows.append((f"{name} @{nfe}", *cells))
    if all(cell == "–" for row in rows for cell in row[1:]):
        return None
    caption = (
        "Medians over episodes; of these, means over training seeds and tasks. Jump: how far a new "
        "plan's action is from the old plan's for the same step, in half ranges of the action. "
        "Jerk: as `ofp-edge eval` gives it."
    )
    return TextTable("Smoothness", ("row", "jump", "jerk"), rows, caption)


def costs(values: Document) -> TextTable | None:
    """Return what training takes; None before any."""
    rows = []
    for cost in values["costs"]:
        ratio = cost["relative_to_flow"]
        rows.append(
            (
                ", ".join(cost["rows"]),
                "–" if ratio is None else f"{ratio:.2f}",
                f"{1000 * cost['cpu_s_per_step']:.1f}",
                _range(cost["steps"]),
                _range(cost["seconds_of_task"].values()),
                f"{cost['training_memory_mib']:.0f}",
                f"{cost['peak_memory_mib']:.0f}",
            )
        )
    if not rows:
        return None
    caption = (
        f"One torch thread a training, {many(values['workers'], 'process', 'processes')} at a "
        "time. A step: processor time, whatever else the machine did. Medians over tasks and "
        "training seeds; wall s: a training's, median over seeds, from the quickest task to the "
        "slowest; memory: the most of any process, and how much of it came after torch, the "
        "dataset and the network were loaded."
    )
    head = ("rows", "step / flow's", "CPU ms a step", "steps", "wall s", "train MiB", "peak MiB")
    return TextTable("Training cost", head, rows, caption)


def _range(values: Collection[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} … {high}"


def _rate(entry: Document) -> str:
    if entry["success"] is None:
        return "–"
    low, high = entry["interval"]
    return f"{100 * entry['success']:.1f} ({100 * low:.0f}–{100 * high:.0f})"
