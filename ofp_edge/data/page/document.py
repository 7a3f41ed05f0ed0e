"""The page of a dataset: its verdict first, then all that it rests on."""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from ofp_edge.data.judge import Judged
from ofp_edge.data.mapping import mapping_text
from ofp_edge.data.page.curves import curves
from ofp_edge.data.page.names import text
from ofp_edge.data.page.ranges import ranges
from ofp_edge.data.page.strips import strips
from ofp_edge.progress import Progress, silent
from ofp_edge.report.html import facts, page, table

_MOST_LINES, _MOST_ROWS, _MOST_RATES, _LARGEST_TEXT = 200, 300, 20, 100_000
_ANSWER = re.compile(r"action = \[.*\]")  # lines to paste that an error holds


def render(found: Judged, output: Path, progress: Progress = silent) -> str:
    """Return the whole page. output: where it will lie, which a mapping's paths are told from."""
    source = found.source
    name = source.path.name or str(source.path)
    sections = [
        f"<h1>{text(name)}</h1>",
        f"<p class='sub'>{text(source.layout)} · {len(found.episodes)} episodes, "
        f"{sum(source.lengths[x] for x in found.episodes)} frames</p>",
        f"<p class='verdict {found.verdict}'>{text(found.said)}</p>",
        facts(_head(found)),
        _odd(found),
        _unread(found),
        _answers(found, output) if found.refused is not None else "",
        strips(found, progress),
        curves(found, progress),
        ranges(found),
        _taken(found),
        _answers(found, output) if found.refused is None else "",
        _keys(found),
    ]
    return page(f"{text_of(name)}: a dataset", sections)


def text_of(name: str) -> str:
    """A name in one line."""
    return " ".join(name.split())


def _head(found: Judged) -> list[tuple[str, Any]]:
    source = found.source
    lengths = [source.lengths[x] for x in found.episodes]
    done = [source.successes[x] for x in found.episodes] if source.successes else []
    rates = " and ".join(f"{x:g} Hz" for x in source.rates_hz[:_MOST_RATES])
    stated = found.mapping.control_hz if found.mapping else None
    guessed = f"not stated; {stated:g} Hz by the mapping or guess" if stated else "not stated"
    chosen = f"{len(lengths)} of {len(source.lengths)}, which the mapping chooses"
    success = None
    if done:
        counts = Counter(done)
        success = f"{counts[True]} done, {counts[False]} failed, {counts[None]} unknown"
    return [
        ("path", text_of(str(source.path))),
        ("layout", source.layout),
        ("robot", source.robot),
        ("task", found.tasks),
        ("episodes", chosen if len(lengths) < len(source.lengths) else len(lengths)),
        ("frames", f"{sum(lengths)}, {min(lengths)} to {max(lengths)} an episode"),
        ("rate", rates or guessed),
        ("success", success),
    ]


def _odd(found: Judged) -> str:
    if not found.odd:
        return "<h2>What is odd</h2><p>Nothing.</p>"
    lines = [f"<li id='odd-{i + 1}'>{text(x)}</li>" for i, x in enumerate(found.odd[:_MOST_LINES])]
    more = len(found.odd) - len(lines)
    rest = f"<p class='caption'>{more} more lines.</p>" if more > 0 else ""
    return f"<h2>What is odd</h2><ol>{''.join(lines)}</ol>{rest}"


def _unread(found: Judged) -> str:
    unread = found.survey.unread
    if not unread:
        return ""
    rows = [(str(x), text_of(unread[x])[:2000]) for x in sorted(unread)[:_MOST_ROWS]]
    sound = [x for x in found.episodes if x not in unread]
    wrote = ""
    if sound and len(sound) <= _MOST_ROWS:
        wrote = f"<p>In a mapping, to leave them out:</p><pre>episodes = {sound}</pre>"
    more = len(unread) - len(rows)
    rest = f"<p class='caption'>{more} more.</p>" if more > 0 else ""
    return f"<h2>Episodes that can't be read</h2>{table(('episode', 'why'), rows, 2)}{rest}{wrote}"


def _answers(found: Judged, output: Path) -> str:
    """What to write: the lines that a refusal offers, and the guess as a mapping file."""
    parts = []
    if found.refused is not None and (answer := _ANSWER.search(found.refused)) is not None:
        parts.append(
            "<p>What an action means isn't guessed where evidence disagrees. One of these lines, "
            "with what it is, stands at the top of a mapping, in place of its [[action]] tables:"
            f"</p>{_pre(answer[0])}"
        )
    mapping = found.mapping
    if mapping is not None and mapping.guessed:
        asked = ' Answer what is <code>"?"</code>.' if found.asked else ""
        parts.append(
            "<p>The guess as a mapping file, to correct and to pass where a command takes a "
            f"dataset; <code>--write-mapping</code> writes it.{asked}</p>"
            f"{_pre(mapping_text(mapping, output))}"
        )
    return f"<h2>What to write</h2>{''.join(parts)}" if parts else ""


def _pre(lines: str) -> str:
    cut = "\n# …" if len(lines) > _LARGEST_TEXT else ""
    return f"<pre>{escape(lines[:_LARGEST_TEXT])}{cut}</pre>"


def _taken(found: Judged) -> str:
    if not found.taken:
        return ""
    rows = [
        (x.key, f"{x.columns[0]} to {x.columns[1] - 1}" if x.columns else "", x.taken, x.why)
        for x in found.taken[:_MOST_ROWS]
    ]
    cut = [tuple(text_of(cell)[:2000] for cell in row) for row in rows]
    remarks = found.mapping.remarks if found.mapping else ()
    said = "".join(f"<li>{text(x)}</li>" for x in remarks)
    return (
        "<h2>What each key is taken for</h2>"
        f"{_wrapped(table(('key', 'columns', 'taken as', 'why'), cut, 4))}"
        f"{_more(len(found.taken), len(rows))}{f'<ul>{said}</ul>' if said else ''}"
    )


def _keys(found: Judged) -> str:
    rows = []
    for key in found.survey.keys[:_MOST_ROWS]:
        low, high = ("?" if x is None else f"{x:.4g}" for x in (key.low, key.high))
        names = ", ".join(found.source.names.get(key.name, ()))
        cells = (key.name, key.shape, key.dtype, low, high, "all" if key.whole else "some", names)
        rows.append(tuple(text_of(str(x))[:2000] for x in cells))
    head = ("key", "a frame", "type", "smallest", "largest", "of", "names of its dimensions")
    return (
        f"<h2>Keys</h2>{_wrapped(table(head, rows, len(head)))}"
        f"{_more(len(found.survey.keys), len(rows))}"
    )


def _wrapped(made: str) -> str:
    """A table whose cells fold."""
    return f"<div class='folded'>{made}</div>"


def _more(count: int, shown: int) -> str:
    return f"<p class='caption'>{count - shown} more.</p>" if count > shown else ""
