"""Commands of ``python -m recognizer`` in this process, which takes a second less than one of their own each time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from unittest.mock import patch

from click.testing import CliRunner, Result

from recognizer import engines
from recognizer.cli import main
from recognizer.service import assembly

#: Loading the networks takes longer than most commands. Those that are run as processes load their own.
_engine = cache(engines.make_engine)


@contextlib.contextmanager
def engines_made_once() -> Iterator[None]:
    """Whatever is opened in this process shares the engines of equal settings."""
    with patch.object(assembly, "make_engine", _engine), patch.object(engines, "make_engine", _engine):
        yield


def run_command(environ: Mapping[str, str], *args, input: bytes | str | None = None) -> Result:
    """Run a command with the settings of `environ` and no others; `.exit_code`, `.stdout`, `.stderr`."""
    unset = {name: None for name in os.environ if name.startswith("RECOGNIZER_")}
    with engines_made_once():
        result = CliRunner(env={**unset, **environ}).invoke(main, [str(arg) for arg in args], input=input)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.stderr
    return result
