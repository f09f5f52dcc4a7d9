"""`python -m recognizer`: everything that the server can do, without a server. docs/cli.md describes the commands."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from . import __version__
from .commands import accuracy, audit, backup, encryption, export, group, keys, people, photos, upkeep, watch
from .commands.common import common_options, report
from .errors import RecognizerError

FAILED, INTERRUPTED, BROKEN_PIPE = 1, 130, 141
_EPILOG = """\b
Exit codes:
  0  done
  1  something failed; the message is on the standard error stream
  2  the command was called wrongly
  3  recognize: nobody who is enrolled was recognised; verify: not the same person
  130  interrupted; 141: nobody reads the output any longer
"""


class _Commands(click.Group):
    """A group whose errors become a line and an exit code; commands return their code, or None for 0."""

    def main(self, *args, standalone_mode: bool = True, **extra):
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        sys.exit(self._run(*args, **extra))

    def _run(self, *args, **extra) -> int:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # its warnings are for programmers
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # names need not fit the terminal's encoding
        try:
            return super().main(*args, standalone_mode=False, **extra) or 0
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED

    def invoke(self, context: click.Context):
        try:
            try:
                return super().invoke(context)
            except RecognizerError as error:
                report(context, error)
                return FAILED
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            return BROKEN_PIPE


def _drop_output() -> None:
    """Nobody reads any longer: let what is still buffered go nowhere, quietly."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="recognizer")
@common_options
def main():
    """Recognise faces, and look after who is enrolled.

    Settings come from RECOGNIZER_... environment variables, as they do for the server; `settings` lists them.
    """


for command in (
    *photos.COMMANDS, *watch.COMMANDS, people.people, keys.keys, *upkeep.COMMANDS, *accuracy.COMMANDS, *export.COMMANDS,
    *audit.COMMANDS, *encryption.COMMANDS, *backup.COMMANDS, *group.COMMANDS,
):  # fmt: skip
    main.add_command(command)
