"""`ofp-edge robots`: which drivers of robots there are, what each needs, and what is found."""

from __future__ import annotations

import typer

from ofp_edge.cli.output import Document, Output, add_command
from ofp_edge.cli.plugged import KEYS, Domain, Network, listened, show


def robots(output: Output, network: Network = None, domain: Domain = None) -> Document:
    """List the drivers of robots with their options, the serial ports here, and with --network the
    robots of ROS 2. Opens nothing."""
    from ofp_edge.runtime.drivers import ROBOTS, lerobot_plugins
    from ofp_edge.runtime.plugged import serial_ports

    far, notes = listened("robot", network, domain)
    return show(output, ROBOTS, [*serial_ports(), *far], lerobot_plugins("robot"), notes)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "robots", robots, KEYS)
