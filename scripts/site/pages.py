"""Gather the site's pages: docs/, the README as its first, and what they link to beside them.

Documents link to files of the repository, which a site has no place for; they are copied into
`files/`, Markdown of the root into `project/`, and the links follow.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "native/README.md")
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
_SHOWN = {".py", ".toml", ".sh", ".cfg", ".txt", ".yml", ".yaml", ".jsonl", ".service", ""}


class Pages:
    """The folder of pages. Raises SystemExit where a document links to what is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[Path, str] = {}

    def gather(self) -> None:
        """Copy and rewrite everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(ROOT / "docs", self.folder)
        for page in sorted(self.folder.rglob("*.md")):
            own = page.relative_to(self.folder)
            self._rewrite(page, ROOT / "docs" / own)
        for name, there in (("README.md", "index.md"), *((x, f"project/{x}") for x in PROJECT)):
            page = self.folder / there
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, page)
            self._rewrite(page, ROOT / name)

    def _rewrite(self, page: Path, source: Path) -> None:
        """Point the links of a page, which was `source`, at what the site has."""
        text = page.read_text(encoding="utf-8")
        fence = False
        lines = []
        for line in text.splitlines(keepends=True):
            fence ^= line.lstrip().startswith("```")
            if not fence:
                line = _LINK.sub(lambda m: m[1] + self._target(m[2], page, source) + m[3], line)
            lines.append(line)
        page.write_text("".join(lines), encoding="utf-8")

    def _target(self, link: str, page: Path, source: Path) -> str:
        where, _, anchor = link.partition("#")
        if not where or re.match(r"[a-z]+:", where):
            return link
        found = Path(os.path.normpath(source.parent / where))
        if not found.exists() or not found.is_relative_to(ROOT):
            raise SystemExit(f"{source.relative_to(ROOT)}: no {where}")
        there = self._place(found)
        relative = os.path.relpath(self.folder / there, page.parent)
        return relative + (f"#{anchor}" if anchor else "")

    def _place(self, found: Path) -> str:
        """Where in the site a file of the repository is."""
        name = found.relative_to(ROOT).as_posix()
        if name == "README.md":
            return "index.md"
        if name in PROJECT:
            return f"project/{name}"
        if found.is_file() and name.startswith("docs/"):
            return name.removeprefix("docs/")
        if found in self._files:
            return self._files[found]
        if found.is_dir():
            return self._listing(found, name)
        there = f"files/{name}" + (".txt" if found.suffix in _SHOWN else "")
        self._files[found] = there
        into = self.folder / there
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, into)
        return there

    def _listing(self, found: Path, name: str) -> str:
        """A page that lists a folder, for a browser without a server."""
        there = f"files/{name}/listing.md"
        self._files[found] = there
        rows = []
        for item in sorted(found.iterdir()):
            if item.name.startswith(("__", ".")):
                continue
            target = os.path.relpath(self.folder / self._place(item), (self.folder / there).parent)
            rows.append(f"- [{item.name}]({target})")
        page = self.folder / there
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"# {name}\n\n" + "\n".join(rows) + "\n", encoding="utf-8")
        return there
