"""The shell lines of the documents, and what each needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"(?ms)(<!-- ([^\n]*?) -->\n)?^```(?:sh|bash|console)?\n(.*?)^```")
_INDENTED = re.compile(r"(?m)(?:^    \S[^\n]*\n(?:^     +\S[^\n]*\n)*)+")
_STARTS = ("ofp-edge ", ".venv/bin/ofp-edge ", "make ", "pip ", "python ", "scripts/")


@dataclass(frozen=True)
class Line:
    """place: the document; text: without its comment; mark: what an HTML comment before its block
    says that it needs, or ""."""

    place: str
    text: str
    mark: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def documents() -> list[Path]:
    """Every document that people follow: the README, CONTRIBUTING and docs, but no results."""
    docs = ROOT / "docs"
    pages = [x for x in docs.rglob("*.md") if not x.is_relative_to(docs / "results")]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(pages)]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Each shell block of a document, with the mark before it."""
    for found in _FENCE.finditer(text):
        yield found[3], found[2] or ""


def lines_of(block: str) -> list[str]:
    """The commands of a block: continued lines joined, comments left out."""
    joined = re.sub(r" *\\\n\s*", " ", block)
    bare = (re.sub(r"\s+# .*$", "", x).strip() for x in joined.splitlines())
    return [x for x in bare if x and not x.startswith("#")]


def documented() -> list[Line]:
    """Every shell line of every document that begins with a command of ours."""
    found = []
    for path in documents():
        place = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        indented = [(x, "") for x in _INDENTED.findall(_FENCE.sub("", text))]
        for block, mark in (*blocks(text), *indented):
            parts = (part.strip() for x in lines_of(block) for part in x.split(" && "))
            found += [Line(place, part, mark) for part in parts if part.startswith(_STARTS)]
    return found
