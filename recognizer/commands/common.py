"""What commands share: options, the service, and how results are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click

from recognizer.core.errors import RecognizerError
from recognizer.core.settings import SETTINGS, Settings

_CHOICES = {item.name: item.metadata["choices"] for item in SETTINGS}


@dataclass
class CommandState:
    """The values of the shared options."""

    json: bool = False
    overrides: dict = field(default_factory=dict)

    def settings(self) -> Settings:
        """The settings in force.

        Raises
        ------
        SettingsError
        """
        return Settings.from_environment(**self.overrides)


def state() -> CommandState:
    return click.get_current_context().ensure_object(CommandState)


def _remember(context: click.Context, option: click.Parameter, value):
    """Store a shared option's value, wherever it was given; the innermost one wins."""
    held = context.ensure_object(CommandState)
    if value is not None and value is not False:
        if option.name == "as_json":
            held.json = True
        else:
            held.overrides[option.name] = value
    return value


def _option(*names: str, **more) -> Callable:
    return click.option(*names, expose_value=False, is_eager=True, callback=_remember, **more)


#: The options that several commands share, by the name under which `shared_options` takes them.
_SHARED: dict[str, tuple[Callable, ...]] = {
    "json": (_option("--json", "as_json", is_flag=True, help="Write JSON to the standard output."),),
    "folder": (
        _option(
            "--known-faces",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Folder of enrolled people, instead of the setting's.",
        ),
    ),
    "engine": (
        _option("--detector", type=click.Choice(_CHOICES["detector"]), help="Face detector."),
        _option("--embedder", type=click.Choice(_CHOICES["embedder"]), help="Face embedder."),
        _option("--provider", type=click.Choice(_CHOICES["provider"]), help="Runtime of the neural networks."),
    ),
}


def shared_options(*groups: Literal["json", "folder", "engine"]) -> Callable[[Callable], Callable]:
    """A decorator that gives a command the shared options which mean something to it.

    Parameters
    ----------
    *groups : str
        ``json``: ``--json``. ``folder``: ``--known-faces``, for commands that read the folder. ``engine``: ``--detector``,
        ``--embedder`` and ``--provider``, for commands that look at photos.
    """

    def decorate(command: Callable) -> Callable:
        for option in reversed([option for group in groups for option in _SHARED[group]]):
            command = option(command)
        return command

    return decorate


def enrolment_options(command: Callable) -> Callable:
    """A decorator for commands that enrol photos: ``face`` and ``force``, as `service.subjects.Subjects.enrol` takes them."""
    command = click.option(
        "--force",
        is_flag=True,
        help="Enrol a face even if it resembles another enrolled person, or is not comparable.",
    )(command)
    return click.option(
        "--face",
        type=click.Choice(["only", "largest"]),
        default="only",
        show_default=True,
        help="If a photo shows several people: `only` refuses it, `largest` takes the largest face.",
    )(command)


#: For commands that look at photos and at who is enrolled.
all_options = shared_options("json", "folder", "engine")


@contextmanager
def service(started: bool = True) -> Iterator:
    """The service for the settings in force, closed at the end of the block. It does not follow the folder.

    Parameters
    ----------
    started : bool
        Whether the folder is looked at; new photos in it are encoded then.
    """
    from recognizer.core import audit, logs
    from recognizer.core.progress import Progress
    from recognizer.service import make_service

    audit.ACTOR.set(audit.command_line_actor())
    settings = state().settings()
    # text for people, unless the setting says JSON
    logs.configure("json" if settings.log == "json" else "text", settings.log_level)
    with Progress("encoding photos of known_faces", least=2) as progress:
        made = make_service(settings.replace(watch=False), progress.download)
        if started:
            try:
                made.start(progress.photos)
            except BaseException:
                made.close()
                raise
    try:
        yield made
    finally:
        made.close()


# -- answers --------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Write a line to the standard error stream."""
    click.echo(text, err=True)


def emit(value) -> None:
    """Write `value` as JSON, in ASCII so that any name passes through any pipe."""
    click.echo(json.dumps(value, indent=2))


def error_data(error: RecognizerError) -> dict:
    return {"code": error.code, "message": error.message, **error.details}


def report(context: click.Context, error: RecognizerError) -> None:
    """Report an error, with --json also on the standard output."""
    say(f"error: {error.message} [{error.code}]")
    if context.ensure_object(CommandState).json:
        emit({"error": error_data(error)})


def plain(text: str) -> str:
    """`text` with control characters and unprintable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table(headings: Sequence[str], rows: Sequence[Sequence], *, styles: Sequence[str] = ()) -> None:
    """Print a table: fitted to the terminal's width or, in a pipe, one line per row.

    Parameters
    ----------
    styles : sequence of str, optional
        A rich style per row, which is left out where there is no terminal.
    """
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    shown = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for heading in headings:
        shown.add_column(heading, overflow="fold", no_wrap=not terminal)
    for number, row in enumerate(rows):
        cells = [Text(plain(str(cell))) for cell in row]
        shown.add_row(*cells, style=styles[number] if styles else None)
    if terminal:
        Console(highlight=False).print(shown)
        return
    console = Console(highlight=False, width=100_000, color_system=None)
    with console.capture() as lines:
        console.print(shown)
    click.echo("\n".join(line.rstrip() for line in lines.get().splitlines()))
