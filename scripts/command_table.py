"""Prints docs/commands.md's table of commands, flags and JSON keys, as the code has them.

command_table.py            print the table
command_table.py --write    put it into docs/commands.md, between the two markers
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, from anywhere

import typer.main  # noqa: E402

DOCUMENT = ROOT / "docs/commands.md"
BEGIN, END = "<!-- commands -->", "<!-- /commands -->"
HEAD = ("| command | flags | JSON keys |", "|---|---|---|")


def leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, those of groups too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def rows() -> list[str]:
    """One Markdown row a command, in the order of the help."""
    from ofp_edge.cli.main import build_app

    found = []
    for name, command in leaves(typer.main.get_command(build_app())):
        arguments = [str(p.name).upper() for p in command.params if p.param_type_name == "argument"]
        flags = [
            "/".join(f"`{text}`" for text in (*p.opts, *p.secondary_opts))
            for p in command.params
            if p.param_type_name == "option" and p.name != "help"
        ]
        keys = [f"`{key}`" for key in command.callback.json_keys]
        head = " ".join([name, *arguments])
        found.append(f"| `{head}` | {' '.join(flags)} | {' '.join(keys)} |")
    return found


def written() -> list[str]:
    """The lines between the markers of docs/commands.md, as they stand."""
    text = DOCUMENT.read_text(encoding="utf-8")
    between = text.partition(BEGIN)[2].partition(END)[0]
    return [line for line in between.splitlines() if line.strip()]


def main() -> None:
    """See the module's docstring."""
    table = "\n".join([*HEAD, *rows()])
    if sys.argv[1:] == ["--write"]:
        text = DOCUMENT.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    else:
        print(table)


if __name__ == "__main__":
    main()
