"""What every command shares: --json and --force, one-line errors, exit codes, progress.

A command is a function that takes an `Output` as its first argument and returns its JSON document.
People read `output.console`; with --json stdout carries that one document and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import re
import sys
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.errors import MarkupError
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from ofp_edge.errors import OfpError
from ofp_edge.progress import Progress
from ofp_edge.signals import Interrupted, interrupts_raise

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Document = dict[str, Any]
LINE_S = 30.0
"""How often progress is said where there is no terminal."""
_LONGEST_LINE = 4000
_OURS = ("/", "bold", "bold red", "cyan", "dim", "green", "red", "yellow")
_TAG = re.compile(r"(\\*)\[([a-z#/@][^\[]*?)\]")  # rich's own, of rich.markup


class _Terminal(Console):
    """What files and other processes say can't move the cursor, turn colours or fill the screen:
    every text is made printable, and its lines short, on its way out."""

    bar_on: Console | None = None
    """The console of a bar on this very terminal: what is said meanwhile goes above the bar."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but a table's cells are folded where they are too long, and never cut: what
        has to be typed again stands there whole."""
        if self.bar_on is not None:
            return self.bar_on.print(*objects, **options)
        for item in objects:
            if isinstance(item, Table):
                for column in item.columns:
                    column.overflow = "fold"
        super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, but of its markup only the styles that commands use are any: `[v2]` in a
        name is no tag, and is printed as it is, as `:fire:` is."""
        lines = (printable(line) for line in text.expandtabs().split("\n"))
        plain = "\n".join(x if len(x) <= _LONGEST_LINE else f"{x[:_LONGEST_LINE]}…" for x in lines)
        options["emoji"] = False
        if options.get("markup") is False:
            return super().render_str(plain, **options)
        try:
            return super().render_str(_TAG.sub(_only_ours, plain), **options)
        except MarkupError:
            return super().render_str(plain, **{**options, "markup": False})


class Output:
    """Where a command writes. `console` is for people: stdout, or stderr under --json.

    exit_code: 0 unless the command sets another; its document is printed all the same. 1 says that
    a check failed, 130 that Ctrl-C came early (143 SIGTERM), 3 that a robot may be moving.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.exit_code = 0
        self.console = _Terminal(stderr=as_json, highlight=False)
        self.log = _Terminal(stderr=True, highlight=False)

    def hush(self) -> None:
        """Say nothing to people from now on: their terminal is gone."""
        self.console.quiet = self.log.quiet = True

    def mute(self) -> None:
        """Say nothing from now on, errors neither: another process of the run says it."""
        self.as_json, self.console.quiet, self.log.quiet = False, True, True

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A progress bar on stderr, without a terminal a line every 30 s; yields the callable that
        moves it."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with RichProgress(*columns, console=self.log, transient=not sys.stderr.isatty()) as bar:
            task = bar.add_task(title, total=None, note="")

            said = time.monotonic()

            def move(done: int, total: int, note: str = "") -> None:
                nonlocal said
                bar.update(task, completed=done, total=total, note=printable(note))
                if not sys.stderr.isatty() and time.monotonic() - said > LINE_S:
                    said = time.monotonic()
                    line = f"{title}: {done} of {total}{', ' * bool(note)}{printable(note)}"
                    self.log.print(line, markup=False, soft_wrap=True)

            if sys.stderr.isatty() and sys.stdout.isatty() and not self.as_json:
                self.console.bar_on = self.log
            try:
                yield move
            finally:
                self.console.bar_on = None
                if bar.tasks[0].total is None:  # it never moved: nothing to keep
                    bar.live.transient = True
        if not sys.stderr.isatty():
            self.log.print(f"{title}: done")


def add_command(
    app: typer.Typer, name: str, function: Callable[..., Document], keys: tuple[str, ...]
) -> None:
    """Register `function(output, ...)` as `ofp-edge NAME`, adding --json.

    A parameter that is a dataclass is a group of options: each of its fields is an option, and the
    function gets the object. keys: the keys of the JSON document, always the same ones. An OfpError
    ends with its exit code (1) and one line (or {"error": line}); Ctrl-C with 130; anything else is
    a bug and keeps its trace.
    """
    # Resolved here: Typer reads annotations, and `output` is not one of its own.
    signature = inspect.signature(function)
    own, groups = _parameters_of(function)
    parameters = own[1:]
    flag = inspect.Parameter(
        "json_flag", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json
    )

    @functools.wraps(function)
    def run(*, json_flag: bool, **arguments: Any) -> None:
        output = Output(json_flag)
        for name, group in groups.items():
            taken = {field.name: arguments.pop(field.name) for field in fields(group)}
            arguments[name] = group(**taken)
        try:
            with interrupts_raise():
                document = function(output, **arguments)
        except OfpError as error:
            _fail(output, str(error), error.exit_code)
        except KeyboardInterrupt as wish:
            output.log.print("stopped.")
            raise typer.Exit(wish.exit_code if isinstance(wish, Interrupted) else 130) from None
        else:
            if set(document) != set(keys):
                raise AssertionError(f"{name}: JSON keys {sorted(document)} are not {sorted(keys)}")
            if output.as_json:
                sys.stdout.write(json.dumps(document, allow_nan=False, default=_plain) + "\n")
                sys.stdout.flush()
            if output.exit_code:
                raise typer.Exit(output.exit_code)

    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*keyword_only, flag], return_annotation=None
    )
    run.__annotations__ = {p.name: p.annotation for p in [*keyword_only, flag]}
    run.json_keys = keys  # type: ignore[attr-defined]
    # A docstring is wrapped for the source; Typer would keep those line ends.
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    app.command(name, help="\n\n".join(" ".join(text.split()) for text in paragraphs))(run)


def add_group(app: typer.Typer, name: str, commands: tuple[str, ...], summary: str) -> None:
    """Register `ofp-edge NAME COMMAND`s: each lives in a file <name>_<command>.py beside this."""
    group = typer.Typer(help=summary, no_args_is_help=True, pretty_exceptions_enable=False)
    for command in commands:
        importlib.import_module(f"ofp_edge.cli.{name}_{command}").add(group)
    app.add_typer(group, name=name)


def _parameters_of(
    function: Callable[..., Any],
) -> tuple[list[inspect.Parameter], dict[str, type[Any]]]:
    """Its parameters with resolved annotations, a group's fields in its place; groups by name."""
    hints = typing.get_type_hints(function, include_extras=True)
    found, groups = [], {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint) and isinstance(hint, type):
            groups[parameter.name] = hint
            found += _parameters_of(hint)[0]
        else:
            found.append(parameter.replace(annotation=_annotated(hint)))
    return found, groups


def _annotated(hint: Any) -> Any:
    """Python 3.10 makes Optional[Annotated[…]] of a parameter whose default is None, which hides
    from Typer what it is: the Annotated inside."""
    inside = [part for part in typing.get_args(hint) if typing.get_origin(part) is Annotated]
    return inside[0] if inside else hint


def _fail(output: Output, line: str, exit_code: int) -> typing.NoReturn:
    line = printable(line)
    if output.as_json:
        sys.stdout.write(json.dumps({"error": line}) + "\n")
        sys.stdout.flush()
    output.log.print(Text.assemble(("error:", "bold red"), f" {line}"), soft_wrap=True)
    raise typer.Exit(exit_code)


def _only_ours(tag: re.Match[str]) -> str:
    escaped = len(tag[1]) % 2 == 1
    return tag[0] if escaped or tag[2] in _OURS else f"{tag[1]}\\{tag[0][len(tag[1]) :]}"


def printable(text: str) -> str:
    """Somebody else's text, in one line and without what would steer a terminal."""
    return "".join(x if x.isprintable() else "\ufffd" for x in text)


def foreign(text: object) -> str:
    """Somebody else's text for `console.print`: not markup either."""
    return escape(printable(str(text)))


def _plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()  # numpy scalars and arrays
    raise TypeError(f"not JSON: {type(value).__name__}")
