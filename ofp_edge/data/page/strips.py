"""Images of each camera at their times: a few frames of a few episodes, shrunk, inside the page."""

from __future__ import annotations

import base64
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.judge import Judged
from ofp_edge.data.page.names import rate_of, shown_episodes, text
from ofp_edge.data.pictures import Turned, picture
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.image import ColorImage
from ofp_edge.progress import Progress

_FRAMES, _SIZE_PX, _MOST_CAMERAS, _QUALITY = 8, 120, 12, 75
_LONGEST, _LARGEST = 2000, 500_000_000  # frames and bytes to read of an episode


def strips(found: Judged, progress: Progress) -> str:
    """Return a strip for each camera and episode; what can't be read says why."""
    source = found.source
    keys = [x for x, about in source.keys.items() if picture(about) is not None]
    if not keys:
        return ""
    read = {row.key: row.taken for row in found.taken}
    keys.sort(key=lambda x: read.get(x, "left") == "left")
    shown, parts = keys[:_MOST_CAMERAS], ["<h2>Images</h2>"]
    turned, episodes = Turned(source, shown), shown_episodes(found)
    for number, key in enumerate(shown):
        progress(number, len(shown), f"images of {key}")
        form = picture(source.keys[key])
        about = f"{read.get(key, 'not read')} · {form.said if form else ''}"
        parts.append(f"<h3>{text(key)}: {text(about)}</h3>")
        parts += [_strip(turned, key, episode, found) for episode in episodes]
    progress(len(shown), len(shown))
    if not episodes:
        parts.append("<p class='caption'>No episode can be read.</p>")
    if len(keys) > len(shown):
        parts.append(f"<p class='caption'>{len(keys) - len(shown)} more keys of images.</p>")
    parts.append(
        "<p class='caption'>Each image has the number of its frame and the time since its "
        "episode's start by the rate; stamp: the time that the files give its row.</p>"
    )
    return "".join(parts)


def _strip(source: Source, key: str, episode: int, found: Judged) -> str:
    length = source.lengths[episode]
    most = max(1, _LARGEST // max(1, source.keys[key].frame_bytes))
    span = min(length, _LONGEST, most)
    wanted = sorted(set(np.linspace(0, span - 1, min(span, _FRAMES)).astype(int).tolist()))
    rate = rate_of(found)
    cut = f", its first {span}" if span < length else ""
    head = f"<p class='small'>episode {episode}, {length} frames{cut}</p>"
    try:
        times = source.times_s(episode)
        images = _images(source, key, episode, wanted)
        made = [_jpeg(image) for image in images]
    except DatasetError as cause:
        return f"{head}<p class='note'>{text(cause)}</p>"
    figures = []
    for frame, data in zip(wanted, made, strict=True):
        at = f"{frame} · {frame / rate:.2f} s" if rate else str(frame)
        stamp = f"<br>stamp {times[frame]:.4f} s" if times is not None else ""
        label = text(f"{key}, episode {episode}, frame {frame}")
        figures.append(
            f"<figure><img alt='{label}' src='data:image/jpeg;base64,{data}'>"
            f"<figcaption>{at}{stamp}</figcaption></figure>"
        )
    return f"{head}<div class='strip'>{''.join(figures)}</div>"


def _images(source: Source, key: str, episode: int, wanted: list[int]) -> list[NDArray[np.uint8]]:
    """The wanted frames; nothing after the last of them is read."""
    found: list[NDArray[np.uint8]] = []
    done = 0
    with closing(source.blocks(key, episode)) as blocks:  # type: ignore[type-var]
        for block in blocks:
            if block.shape[1:] != source.keys[key].shape:
                raise DatasetError(
                    f"{source.path}: episode {episode}, {key}: frames of {block.shape[1:]}, "
                    f"expected {source.keys[key].shape}."
                )
            while len(found) < len(wanted) and wanted[len(found)] < done + len(block):
                found.append(_bytes(block[wanted[len(found)] - done]))
            done += len(block)
            if len(found) == len(wanted):
                return found
    raise DatasetError(
        f"{source.path}: episode {episode}, {key}: expected {source.lengths[episode]} frames, got "
        f"{done}."
    )


def _bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """A frame (H, W, 3) as it is shown; floats are 0..255, as in the field that reads them."""
    if image.dtype == np.uint8:
        return image
    plain = np.nan_to_num(np.asarray(image, np.float64))
    return np.clip(np.rint(plain), 0, 255).astype(np.uint8)


def _jpeg(image: NDArray[np.uint8]) -> str:
    height, width = image.shape[:2]
    factor = min(1.0, _SIZE_PX / max(height, width))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    small = ColorImage(width, height, (3, *size))(image).transpose(1, 2, 0)
    codec = require("imagecodecs", "data")
    data = codec.jpeg8_encode(np.ascontiguousarray(small), level=_QUALITY)
    return base64.b64encode(data).decode("ascii")
