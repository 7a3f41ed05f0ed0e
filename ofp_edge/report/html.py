"""The parts of every HTML report: one page, without scripts, that fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def page(title: str, sections: Iterable[str]) -> str:
    """Return a whole document around sections of HTML; names that are no UTF-8 show as ?."""
    text = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    text_columns: int = 1,
    *,
    ends_in_words: bool = False,
) -> str:
    """Return a table of text cells; those after the first `text_columns` are aligned as
    numbers, but for a last one of words, which may take several lines."""

    def kind(i: int) -> str:
        if ends_in_words and i == len(head) - 1:
            return " class=words"
        return "" if i < text_columns else " class=n"

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{kind(i)}>{escape(str(cell))}</{tag}>" for i, cell in enumerate(row))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f"<div class='wide'><table><thead><tr>{cells('th', head)}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def facts(rows: Iterable[tuple[str, Any]]) -> str:
    """Return names and values in two columns; None is left out."""
    body = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>"
        for key, value in rows
        if value is not None
    )
    return f"<table class='facts'><tbody>{body}</tbody></table>"


def flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Turn a nested document into rows for `facts`."""
    rows: list[tuple[str, Any]] = []
    for key, item in value.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(item, dict):
            rows += flat(item, f"{prefix}{key} · ")
        elif isinstance(item, list):
            rows.append((name, ", ".join(str(x) for x in item)))
        else:
            rows.append((name, item))
    return rows
