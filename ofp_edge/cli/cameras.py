"""`ofp-edge cameras`: which drivers of cameras there are, what each needs, and what is found."""

from __future__ import annotations

from dataclasses import replace

import typer

from ofp_edge.cli.output import Document, Output, add_command
from ofp_edge.cli.plugged import KEYS, Domain, Network, listened, show


def cameras(output: Output, network: Network = None, domain: Domain = None) -> Document:
    """List the drivers of cameras with their options, the cameras here, and with --network those of
    ROS 2. Starts no camera.

    The RealSense SDK is asked, in a process of its own, for the serials of its cameras.
    """
    from ofp_edge.doctor.checks.realsense import check
    from ofp_edge.runtime.drivers import CAMERAS, lerobot_plugins
    from ofp_edge.runtime.plugged import realsense_devices, video_devices

    depth, notes = realsense_devices(), []
    if depth:
        said = {x.name: x for x in check()}
        if (listed := said.get("realsense camera")) is not None and listed.status == "ok":
            texts = listed.detail.split(", ")
            if len(texts) == len(depth):
                depth = [
                    replace(device, about=text, serial=text.rpartition(" ")[2])
                    for device, text in zip(depth, texts, strict=True)
                ]
            else:
                notes.append(f"the SDK sees: {listed.detail}")
        notes += [f"{x.name}: {x.detail}. {x.remedy}" for x in said.values() if x.remedy]
    found = [*depth, *(x for x in video_devices() if not (depth and x.driver == "realsense"))]
    far, heard = listened("camera", network, domain)
    plugins = lerobot_plugins("camera")
    return show(output, CAMERAS, [*found, *far], plugins, [*notes, *heard])


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "cameras", cameras, KEYS)
