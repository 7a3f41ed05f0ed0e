"""The site of the documents: built, whole, quiet, and readable on a telephone."""

from __future__ import annotations

import json
import re
import sys
from html import unescape
from pathlib import Path

import pytest

from tests.documents.lines import ROOT
from tests.rendering import looked_at, opened, require_readable

sys.path.insert(0, str(ROOT / "scripts/site"))

from build_site import BUILD, main  # noqa: E402
from check import faults  # noqa: E402

SITE = BUILD / "html"


@pytest.fixture(scope="module")
def site() -> Path:
    pytest.importorskip("zensical", reason="the extra docs")
    assert main() == 0
    return SITE


def test_every_link_and_heading_is_there(site: Path) -> None:
    assert faults(site) == [] and len(list(site.rglob("*.html"))) > 40


def test_every_page_of_docs_is_found_in_the_menu() -> None:
    nav = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    docs = ROOT / "docs"
    pages = {x.relative_to(docs).as_posix() for x in docs.rglob("*.md")}
    listed = set(re.findall(r'= "([\w./-]+\.md)"', nav))
    assert {x for x in pages if not x.startswith("results/")} <= listed
    assert {x for x in listed if not x.startswith("project/") and x != "index.md"} <= pages


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<a href='gone.html'>x</a>", "a.html: gone.html: no such file"),
        ("<a href='a.html#there'>x</a>", "a.html: a.html#there: no such heading"),
        ("<a href='#there'>x</a>", "a.html: #there: no such heading"),
        ("<img src='https://elsewhere.test/x.png'>", "loads https://elsewhere.test/x.png"),
        ("<link rel='stylesheet' href='//elsewhere.test/x.css'>", "from another host"),
        ("<a href='https://elsewhere.test/'>x</a> <b id='here'></b><a href='#here'>y</a>", ""),
    ],
)
def test_what_leads_nowhere_is_noticed(tmp_path: Path, html: str, said: str) -> None:
    (tmp_path / "a.html").write_text(f"<html><body>{html}</body></html>")
    found = "\n".join(faults(tmp_path))
    assert said in found and bool(said) == bool(found)


PAGES = ("index.html", "journeys/my-data.html", "reference/rig.html")


@pytest.mark.parametrize("page", PAGES)
def test_nothing_overflows_or_is_cut_off(
    site: Path, chromium: str, tmp_path: Path, page: str
) -> None:
    require_readable(chromium, site / page, tmp_path)


def test_a_page_too_wide_would_be_noticed(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><body><div style='width:450px'>wide</div>"
        "<p style='width:50px;overflow:hidden;white-space:nowrap'>a long line of words</p>"
        "<svg width='80' height='20'><text x='60' y='15'>a label</text></svg>"
        "<style>@media (prefers-color-scheme: dark) { i { color: #bbb } }</style><i>faint</i>"
        "<img src='http://elsewhere.test/x.png'></body>"
    )
    found, hosts = looked_at(chromium, page, tmp_path, widths=(400,))
    wrong = ["cut off", "outside its plot"]
    light, dark = ([x for x in found if x.startswith(f"400 px, {y}")] for y in ("light", "dark"))
    assert "px wide" in light[0] and [x.split(": ")[1] for x in light[1:]] == wrong
    assert dark[-1].endswith('1.9 to 1 on its background: i "faint"') and len(dark) == 4
    assert hosts == {"elsewhere.test"}


_SEARCH = """<!doctype html><body><iframe id="f" src="{page}" width="1200" height="900"></iframe>
<pre id="found">nothing</pre><script>
const input = (root) => {{
  for (const e of root.querySelectorAll("*")) {{
    if (e.tagName === "INPUT" && e.type !== "checkbox" && e.type !== "radio") return e;
    const inside = e.shadowRoot && input(e.shadowRoot);
    if (inside) return inside;
  }}
}};
const frame = document.getElementById("f");
frame.addEventListener("load", () => setTimeout(() => {{
  const page = frame.contentWindow.document;
  page.querySelector(".md-search__button").click();
  setTimeout(() => {{
    const field = input(page);
    field.value = "gripper";
    field.dispatchEvent(new frame.contentWindow.Event("input", {{ bubbles: true }}));
    setTimeout(() => {{
      document.getElementById("found").textContent =
        JSON.stringify(field.getRootNode().textContent || "");
    }}, 1500);
  }}, 800);
}}, 1000));
</script></body>"""


def test_the_search_needs_no_server(site: Path, chromium: str, tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(_SEARCH.format(page=(site / "index.html").as_uri()))
    dom, _ = opened(chromium, wrapper, tmp_path, wait_ms=9000)
    said = re.search(r'<pre id="found">(.*?)</pre>', dom, re.S)
    assert said and re.search(r"\d+ results?", json.loads(unescape(said[1])))
