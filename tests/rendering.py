"""What a page looks like in a browser, on a desk and a telephone, light and dark: what is wider
than the page, cut off or too faint to read, and what is asked of another host."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path

_LOOK = """
const shown = (e) => e.offsetParent !== null || e instanceof SVGElement;
const name = (e) => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + " " +
  JSON.stringify((e.textContent || "").trim().replace(/\\s+/g, " ").slice(0, 60));
const channels = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
  .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
function behind(view, e) {
  for (; e; e = e.parentElement) {
    const rgb = channels(view.getComputedStyle(e).backgroundColor);
    if (rgb.length === 3 || rgb[3] > 0.5) return rgb;
  }
  return [255, 255, 255];
}
function contrast(view, e, style) {
  const bright = Number((style.filter.match(/brightness\\(([\\d.]+)\\)/) || [0, 1])[1]);
  const own = channels(e instanceof view.SVGElement ? style.fill : style.color);
  const [a, b] = [own.map((c) => Math.min(255, c * bright)), behind(view, e)].map(luminance);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
function look(view) {
  const page = view.document, root = page.documentElement, found = [];
  if (root.scrollWidth > root.clientWidth + 1)
    found.push(`the page is ${root.scrollWidth} px wide, its window ${root.clientWidth}`);
  for (const e of page.querySelectorAll("body *")) {
    if (!shown(e)) continue;
    const style = view.getComputedStyle(e), box = e.getBoundingClientRect();
    if (style.visibility === "hidden" || !box.width || !box.height) continue;
    const hides = style.overflowX === "hidden" || style.overflowX === "clip";
    const words = [...e.childNodes].some((x) => x.nodeType === 3 && x.textContent.trim());
    if (hides && words && e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 1)
      found.push(`cut off: ${name(e)}`);
    if (words && contrast(view, e, style) < 3)
      found.push(`${contrast(view, e, style).toFixed(1)} to 1 on its background: ${name(e)}`);
    if (e.tagName.toLowerCase() === "text") {
      const svg = e.ownerSVGElement.getBoundingClientRect();
      if (box.left < svg.left - 1 || box.right > svg.right + 1 || box.top < svg.top - 1 ||
          box.bottom > svg.bottom + 1) found.push(`outside its plot: ${name(e)}`);
    }
  }
  return found;
}
"""
_WRAPPER = """<!doctype html><html><body style="margin:0">{frames}
<pre id="found">nothing was looked at</pre>
<script>{look}
addEventListener("load", () => setTimeout(() => {{
  document.getElementById("found").textContent = JSON.stringify(
    [...document.querySelectorAll("iframe")].flatMap((frame) =>
      look(frame.contentWindow).map((x) => frame.title + ": " + x)));
}}, 500));
</script></body></html>"""
WIDTHS = (1200, 400)
SCHEMES = ("light", "dark")


def _browsed(chromium: str, page: Path, folder: Path, *wanted: str, size: str, wait_ms: int) -> str:
    """What the browser prints of a page, after so long of the page's own time. size: px, "W,H"."""
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--allow-file-access-from-files", f"--window-size={size}", "--hide-scrollbars",
         f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--virtual-time-budget={wait_ms}", *wanted, page.as_uri()],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    return done.stdout


def _frame(page: Path, width: int, height: int, scheme: str) -> str:
    return (
        f'<iframe title="{width} px, {scheme}" src="{page.as_uri()}" style="border:0;'
        f'display:block;width:{width}px;height:{height}px;color-scheme:{scheme}"></iframe>'
    )


def opened(chromium: str, page: Path, folder: Path, *, wait_ms: int = 5000) -> tuple[str, set[str]]:
    """A page as the browser understood it after so long (of the page's own time), and the hosts it
    asked for."""
    log = folder / "net.json"
    wanted = f"--log-net-log={log}", "--dump-dom"
    dom = _browsed(chromium, page, folder, *wanted, size="1400,2100", wait_ms=wait_ms)
    hosts = set(re.findall(r'"url":"https?://([^/"]+)', log.read_text(encoding="utf-8")))
    own = ("google.com", "googleapis.com", "gstatic.com", "gvt1.com")  # Chromium calls home
    return dom, {host for host in hosts if not host.endswith(own)}


def looked_at(
    chromium: str, page: Path, folder: Path, *, widths: tuple[int, ...] = WIDTHS
) -> tuple[list[str], set[str]]:
    """What is wrong with a page at these widths (px), light and dark; the hosts it asked for."""
    wrapper = folder / "wrapper.html"
    frames = "".join(_frame(page, width, 2000, x) for width in widths for x in SCHEMES)
    wrapper.write_text(_WRAPPER.format(frames=frames, look=_LOOK), encoding="utf-8")
    dom, hosts = opened(chromium, wrapper, folder)
    said = re.search(r'<pre id="found">(.*?)</pre>', dom, re.S)
    found: list[str] = json.loads(unescape(said[1])) if said else ["no answer"]
    return found, hosts


def require_readable(chromium: str, page: Path, folder: Path) -> None:
    """Fail where a report is wider than a telephone or a desk, is cut off, or asks for anything."""
    assert looked_at(chromium, page, folder) == ([], set())


def pictured(chromium: str, page: Path, folder: Path, width: int, height: int, scheme: str) -> Path:
    """A PNG, at least so large (px), with the top left of a page that is so wide."""
    wrapper, picture = folder / "wrapper.html", folder / "picture.png"
    frame = _frame(page, width, height, scheme)
    wrapper.write_text(f'<!doctype html><body style="margin:0">{frame}</body>', encoding="utf-8")
    size = f"{max(WIDTHS)},{height}"
    _browsed(chromium, wrapper, folder, f"--screenshot={picture}", size=size, wait_ms=3000)
    return picture
