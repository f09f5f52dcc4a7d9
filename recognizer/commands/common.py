"""What all commands share: the options that may stand anywhere, the service, and how answers are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from ..errors import RecognizerError
from ..settings import SETTINGS, Settings

_CHOICES = {item.name: item.metadata["choices"] for item in SETTINGS}


@dataclass
class State:
    """What the common options said."""

    json: bool = False
    overrides: dict = field(default_factory=dict)

    def settings(self) -> Settings:
        """The settings in force.

        Raises
        ------
        SettingsError
        """
        return Settings.from_environment(**self.overrides)


def state() -> State:
    return click.get_current_context().ensure_object(State)


def _remember(context: click.Context, option: click.Parameter, value):
    """Keep a common option's value, wherever it stood; the innermost wins."""
    held = context.ensure_object(State)
    if value is not None and value is not False:
        if option.name == "as_json":
            held.json = True
        else:
            held.overrides[option.name] = value
    return value


def _option(*names: str, **more) -> Callable:
    return click.option(*names, expose_value=False, is_eager=True, callback=_remember, **more)


def common_options(command: Callable) -> Callable:
    """The options that may stand before or after a command's name."""
    as_json = _option("--json", "as_json", is_flag=True, help="Write JSON to the standard output.")
    return setting_options(as_json(command))


def setting_options(command: Callable) -> Callable:
    """The common options that stand for settings."""
    options = (
        _option(
            "--known-faces", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
            help="Folder of the enrolled, instead of the setting's.",
        ),
        _option("--detector", type=click.Choice(_CHOICES["detector"]), help="How faces are found."),
        _option("--embedder", type=click.Choice(_CHOICES["embedder"]), help="How faces are described."),
        _option("--provider", type=click.Choice(_CHOICES["provider"]), help="What the networks run on."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def service(started: bool = True) -> Iterator:
    """The service of the settings in force, which does not follow the folder; closed at the end.

    Parameters
    ----------
    started : bool
        Whether the folder is looked at; new photos in it are encoded then.
    """
    from .. import audit, logs
    from ..progress import Progress
    from ..service import make_service

    audit.ACTOR.set(audit.command_line_actor())
    settings = state().settings()
    # a command speaks to people, unless it is told otherwise
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
    """A line for people, on the standard error stream."""
    click.echo(text, err=True)


def emit(value) -> None:
    """Write `value` as JSON: ASCII, so that any name gets through any pipe."""
    click.echo(json.dumps(value, indent=2))


def error_data(error: RecognizerError) -> dict:
    return {"code": error.code, "message": error.message, **error.details}


def report(context: click.Context, error: RecognizerError) -> None:
    """Say what went wrong, and with --json also on the standard output."""
    say(f"error: {error.message} [{error.code}]")
    if context.ensure_object(State).json:
        emit({"error": error_data(error)})


def plain(text: str) -> str:
    """`text` with everything that could steer a terminal, or not be written at all, shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table(headings: Sequence[str], rows: Sequence[Sequence], *, styles: Sequence[str] = ()) -> None:
    """A table for people: framed to the terminal's width, or, in a pipe, one line per row.

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
