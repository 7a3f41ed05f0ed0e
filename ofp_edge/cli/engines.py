"""What commands share that run a bundle: what this device must build is built before anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ofp_edge.bundle import Bundle
from ofp_edge.cli.output import Output

if TYPE_CHECKING:
    from ofp_edge.runtime.runners.engine import Prepared


def build_engines(
    output: Output, bundle: Bundle, engine: str, precision: str, *, fallback: bool = False
) -> list[Prepared]:
    """Find or build what `engine` needs on this device, with progress on stderr; for most nothing.

    Raises OfpError, BundleError, ParityError.
    """
    from ofp_edge.runtime.runners.table import engine_of

    chosen = engine_of(engine)
    for warning in chosen.warnings():
        output.log.print(f"[yellow]warning:[/] {warning}", soft_wrap=True)
    with output.progress("building engines") as progress:
        prepared = chosen.prepare(bundle, precision, progress, fallback=fallback)
    for item in prepared:
        if item.reason:
            output.log.print(
                f"{item.file}: built in {item.seconds:.0f} s, because {item.reason}",
                soft_wrap=True,
            )
    return prepared


def engine_json(item: Prepared) -> dict[str, Any]:
    """Plain JSON values of one engine."""
    return {
        "function": item.function,
        "precision": item.precision,
        "file": item.file,
        "built": bool(item.reason),
        "reason": item.reason,
        "seconds": item.seconds,
        "parity": item.parity,
    }
