"""`recognizer`, or `python -m recognizer`: all that the server can do, without a server. docs/cli.md has the commands."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import click

from recognizer import __version__
from recognizer.commands import (
    cmd_accuracy,
    cmd_archive,
    cmd_audit,
    cmd_backup,
    cmd_completion,
    cmd_database,
    cmd_encryption,
    cmd_export,
    cmd_group,
    cmd_groups,
    cmd_import,
    cmd_keys,
    cmd_people,
    cmd_photos,
    cmd_rules,
    cmd_serve,
    cmd_spark,
    cmd_upkeep,
    cmd_watch,
)
from recognizer.commands.cmd_completion import COMPLETE_VARIABLE
from recognizer.commands.common import CommandState, all_options, report
from recognizer.core.errors import RecognizerError

FAILED, INTERRUPTED, BROKEN_PIPE = 1, 130, 141
_EPILOG = """\b
Exit codes:
  0  done
  1  something failed; the message is on the standard error stream
  2  the command was called wrongly
  3  recognize: no enrolled person was recognised; verify: not the same person
  130  interrupted; 141: the output was closed
"""


class _Commands(click.Group):
    """A command group that turns errors into a line and an exit code."""

    def main(self, args=None, prog_name=None, complete_var=None, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        sys.exit(self._run(args, prog_name, complete_var, **extra))

    def _run(self, args, prog_name, complete_var, **extra: Any) -> int:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # hides its warnings
        CommandState.own_process = args is None
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a name may have letters that the terminal lacks
        try:
            return super().main(args, prog_name, complete_var or COMPLETE_VARIABLE, standalone_mode=False, **extra) or 0
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
    """The reader has closed the pipe: discard the buffered output without an error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="recognizer")
@all_options
def main():
    """Recognise faces, and manage enrolled people.

    Settings come from RECOGNIZER_... environment variables, as they do for the server; `settings` lists them.
    """


for command in (
    cmd_serve.serve,
    *cmd_photos.COMMANDS,
    *cmd_watch.COMMANDS,
    cmd_people.people,
    cmd_groups.groups,
    cmd_rules.rules,
    cmd_keys.keys,
    *cmd_upkeep.COMMANDS,
    *cmd_accuracy.COMMANDS,
    *cmd_export.COMMANDS,
    *cmd_audit.COMMANDS,
    *cmd_encryption.COMMANDS,
    *cmd_backup.COMMANDS,
    *cmd_database.COMMANDS,
    *cmd_group.COMMANDS,
    *cmd_archive.COMMANDS,
    cmd_spark.spark,
    cmd_import.import_,
    cmd_completion.completion,
):
    main.add_command(command)
