"""What commands share: options, the service, and how results are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import click

from recognizer.core.errors import RecognizerError, SettingsError
from recognizer.core.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from recognizer.database.connection import Database

_CHOICES = {item.name: item.metadata["choices"] for item in SETTINGS}


@dataclass
class CommandState:
    """The values of the shared options."""

    #: Whether the process runs this command and nothing else.
    own_process: ClassVar[bool] = False
    json: bool = False
    group: str | None = None
    overrides: dict = field(default_factory=dict)
    _database: Database | None = None

    def settings(self) -> Settings:
        """The settings in force.

        Raises
        ------
        SettingsError
        """
        return Settings.from_environment(**self.overrides)

    def database(self) -> Database | None:
        """The database of the settings, closed when the command ends; None without one.

        Raises
        ------
        SettingsError
        """
        from recognizer.database.opening import open_database

        if self._database is None:
            self._database = open_database(self.settings().database_url)
            if self._database is not None:
                click.get_current_context().find_root().call_on_close(self._database.close)
        return self._database


def state() -> CommandState:
    return click.get_current_context().ensure_object(CommandState)


def folder_settings() -> Settings:
    """The settings in force, for commands that work on the files of a single server.

    Raises
    ------
    SettingsError
        People are in a database.
    """
    settings = state().settings()
    if settings.database_url:
        raise SettingsError("database_url: this command is for a single server; docs/scale.md says how to do without it")
    return settings


def _remember(context: click.Context, option: click.Parameter, value):
    """Store a shared option's value, wherever it was given; the innermost one wins."""
    held = context.ensure_object(CommandState)
    if value is not None and value is not False:
        if option.name == "as_json":
            held.json = True
        elif option.name == "in_group":
            held.group = value
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
    "group": (_option("--group", "in_group", metavar="GROUP", help="The people of this group, instead of known_faces."),),
    "engine": (
        _option("--detector", type=click.Choice(_CHOICES["detector"]), help="Face detector."),
        _option("--embedder", type=click.Choice(_CHOICES["embedder"]), help="Face embedder."),
        _option("--provider", type=click.Choice(_CHOICES["provider"]), help="Runtime of the neural networks."),
    ),
}


def shared_options(*groups: Literal["json", "folder", "group", "engine"]) -> Callable[[Callable], Callable]:
    """A decorator that gives a command the shared options which mean something to it.

    Parameters
    ----------
    *groups : str
        ``json``: ``--json``. ``folder``: ``--known-faces``, for commands that read the folder. ``group``: ``--group``, for
        commands about the people of one group. ``engine``: ``--detector``, ``--embedder`` and ``--provider``, for commands that
        look at photos.
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
#: For those that can do so in any group.
group_options = shared_options("json", "folder", "group", "engine")


@contextmanager
def service(started: bool = True) -> Iterator:
    """The service for the settings in force, closed at the end of the block. It does not follow the folder.

    Parameters
    ----------
    started : bool
        Whether the folder is looked at; new photos in it are encoded then.
    """
    from recognizer.core.ahead import taking_turns
    from recognizer.core.collecting import collecting_later

    settings = state().settings()
    with taking_turns(), collecting_later(freeze=False):
        from recognizer.core import audit, logs
        from recognizer.engines import engine_ahead

        # text for people, unless the setting says JSON
        logs.configure("json" if settings.log == "json" else "text", settings.log_level)
        engine = engine_ahead(settings.engine_recipe)  # its networks load while everything else is imported

        from recognizer.core.progress import Progress
        from recognizer.service import make_service

    audit.ACTOR.set(audit.command_line_actor())
    with Progress("encoding photos of known_faces", least=2) as progress:
        with collecting_later(freeze=CommandState.own_process):
            made = make_service(settings.replace(watch=False), progress.download, make=engine)
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


@contextmanager
def group_service(started: bool = True) -> Iterator[tuple[Any, Any]]:
    """The service as `service` opens it, and the group that ``--group`` names.

    Raises
    ------
    GroupNotFound
    """
    chosen = state().group
    with service(started and chosen is None) as made:
        yield made, made.groups.get(chosen)


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
