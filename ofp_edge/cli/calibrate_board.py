"""`ofp-edge calibrate board`: the ChArUco board as a drawing to print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError
from ofp_edge.files import check_output_file, write_bytes

if TYPE_CHECKING:
    from ofp_edge.calibration.board import Board

KEYS = ("board", "squares", "square_mm", "marker_mm", "dictionary", "corners")
Squares = Annotated[str, typer.Option(help="Squares of the board: columns x rows.")]
SquareMm = Annotated[float, typer.Option(help="Side of a square, mm; as measured on the print.")]
MarkerMm = Annotated[
    float | None, typer.Option(help="Side of a marker, mm. Default: three quarters of a square.")
]
Dictionary = Annotated[str, typer.Option(help="ArUco dictionary of the markers.")]


def make_board(squares: str, square_mm: float, marker_mm: float | None, dictionary: str) -> Board:
    """The board that these options name; OfpError when there can be none."""
    from ofp_edge.calibration.board import Board

    match = re.fullmatch(r"(\d{1,3})x(\d{1,3})", squares)
    if match is None:
        raise OfpError(f"--squares {squares}: expected columns x rows, such as 7x5.")
    marker_mm = 0.75 * square_mm if marker_mm is None else marker_mm
    size = int(match[1]), int(match[2])
    board = Board(size, square_mm / 1000, marker_mm / 1000, dictionary)
    board.opencv()
    return board


def board(
    output: Output,
    file: Annotated[Path, typer.Option("--output", "-o", help="SVG file to write.")],
    squares: Squares = "7x5",
    square_mm: SquareMm = 36.0,
    marker_mm: MarkerMm = None,
    dictionary: Dictionary = "4x4_50",
    force: Force = False,
) -> Document:
    """Draw a ChArUco board in true size, as an SVG file to print at 100 %.

    The default fits A4, lying. Glue it to something flat and stiff, and measure a square.
    """
    check_output_file(file, force=force)
    made = make_board(squares, square_mm, marker_mm, dictionary)
    write_bytes(file, made.svg().encode())
    columns, rows = made.squares
    width, height = ((n + 0.5) * square_mm for n in made.squares)
    output.console.print(
        f"{file}: {columns} x {rows} squares of {square_mm:g} mm, {width:g} x {height:g} mm with "
        "its rim. Print at 100 %, glue it to a flat plate, measure a square.",
        soft_wrap=True,
    )
    return {
        "board": file,
        "squares": [columns, rows],
        "square_mm": square_mm,
        "marker_mm": 1000 * made.marker_m,
        "dictionary": made.dictionary,
        "corners": len(made.corners),
    }


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "board", board, KEYS)
