"""How a run's chunks started, in words, from a document of `eval`."""

from __future__ import annotations

from typing import Any

from ofp_edge.start import MEAN


def start_text(document: dict[str, Any]) -> str:
    """Return e.g. "warm, t_w 0.5 to the mean, noise 0, cold in 4 evaluations". Noise is said where
    it is not training's, evaluations of a cold start where those are more."""
    if document["start"] is None:
        return "deterministic"
    start, warm = document["start"], document["t_w"] is not None
    parts = [f"warm, t_w {document['t_w']:g}" if warm else "cold"]
    if document.get("warm_step") == MEAN:
        parts[0] += " to the mean"
    if (noise := start["noise_warm" if warm else "noise_cold"]) != 1:
        parts.append(f"noise {noise:g}")
    if warm and start["noise_cold"] != 1:
        parts.append(f"cold {start['noise_cold']:g}")
    if warm and (start["cold_nfe"] or 1) > 1:
        parts.append(f"cold in {start['cold_nfe']} evaluations")
    if document["guard"] > 1:
        parts.append(f"guarded among {document['guard']}")
    return ", ".join(parts)
