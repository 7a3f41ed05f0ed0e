"""The table of what each key of a dataset is taken for, as `data info` prints it."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table

from ofp_edge.cli.output import foreign
from ofp_edge.data.taken import Taken

_WHOLE = 36


def table_of(taken: Iterable[Taken]) -> Table:
    """Return the table: it reads at 80 columns, and folds what is longer. Keys, which have to be
    typed, stay whole where they take less than half of that; where no key is split, no column says
    of which numbers of it a row speaks."""
    taken = list(taken)
    whole = max((len(row.key) for row in taken), default=0) <= _WHOLE
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    split = any(row.columns for row in taken)
    some = (("columns", None),) if split else ()
    for title, ratio in (("key", 4), *some, ("taken as", 3), ("why", 5)):
        table.add_column(title, overflow="fold", ratio=ratio, no_wrap=ratio is None)
    if whole:
        table.columns[0].ratio, table.columns[0].no_wrap = None, True
    table.expand = True
    for row in taken:
        columns = [_columns(*row.columns) if row.columns else ""] * split
        table.add_row(foreign(row.key), *columns, foreign(row.taken), foreign(row.why))
    return table


def _columns(first: int, stop: int) -> str:
    return f"{first}" if stop == first + 1 else f"{first}-{stop - 1}"
