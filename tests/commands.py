"""Commands of ``python -m recognizer`` in this process, which takes a second less than one of their own each time."""

from __future__ import annotations

import os
from collections.abc import Mapping

from click.testing import CliRunner, Result

from recognizer.cli import main


def run_command(environ: Mapping[str, str], *args, input: bytes | str | None = None) -> Result:
    """Run a command with the settings of `environ` and no others; `.exit_code`, `.stdout`, `.stderr`."""
    unset = {name: None for name in os.environ if name.startswith("RECOGNIZER_")}
    result = CliRunner(env={**unset, **environ}).invoke(main, [str(arg) for arg in args], input=input)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.stderr
    return result
