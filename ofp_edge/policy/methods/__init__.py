"""Training methods by name: one file each, one interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from ofp_edge.errors import PolicyError, UnknownName
from ofp_edge.policy.methods.diffusion import Diffusion
from ofp_edge.policy.methods.flow import Flow
from ofp_edge.policy.methods.meanflow import MeanFlow
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.methods.ofp import Ofp
from ofp_edge.policy.methods.ofp_plus import OfpPlus

DEFAULT = "ofp-plus"


METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Ofp, OfpPlus, Flow, MeanFlow, Diffusion)
}


def build_method(name: str, options: Mapping[str, float] | None = None) -> Method:
    """Build a method from its defaults and `options`. UnknownName, or PolicyError on an option."""
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    kind = METHODS[name]
    known = {entry.name for entry in fields(kind)}
    if extra := sorted(set(options or {}) - known):
        raise PolicyError(f"method {name}: unknown option {extra[0]!r}. Known: {sorted(known)}")
    return kind(**(options or {}))


def options_of(method: Method) -> dict[str, float]:
    """Return every option by name, for config.json."""
    return {key: float(value) for key, value in asdict(method).items()}
