"""Whether a built site is whole: every link and anchor leads somewhere, and nothing is fetched from
another host."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"),
           ("iframe", "src")}  # fmt: skip
_NOT_LOADED = {"canonical", "prev", "next", "alternate"}  # kinds of <link> that name a page


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        for key in ("id", "name"):
            if found.get(key):
                self.anchors.add(str(found[key]))
        named = tag == "link" and found.get("rel") in _NOT_LOADED
        for key in ("href", "src"):
            value = found.get(key)
            if value is None or named:
                continue
            (self.loads if (tag, key) in _LOADED else self.links).append(value)


def read_page(path: Path) -> _Page:
    """Return a page's anchors, links, and what it loads."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def faults(site: Path) -> list[str]:
    """Return what is wrong, a line each; nothing where the site is whole."""
    pages = {path: read_page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        said = path.relative_to(site)
        if path.name == "404.html":
            continue  # its links are from the root, wherever it is shown
        for link in page.loads:
            if urlsplit(link).scheme in ("http", "https") or link.startswith("//"):
                found.append(f"{said}: loads {link} from another host")
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target = target / "index.html"
            if not target.is_file():
                found.append(f"{said}: {link}: no such file")
            elif parts.fragment and target in pages:
                wanted = unquote(parts.fragment)
                if wanted not in pages[target].anchors and not wanted.startswith("__"):
                    found.append(f"{said}: {link}: no such heading")
    return found
