"""serve: the HTTP server, for those who installed the package; in a checkout it is the same as `hug -f api.py`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import click

from recognizer.commands.common import shared_options, state
from recognizer.core.interrupts import end_quietly
from recognizer.core.settings import PREFIX

#: Where the built package holds the checkout's api.py.
_PACKAGED = "recognizer.http.hug_api"


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on, instead of the setting's.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one.")
@shared_options("folder", "engine")
def serve(host: str | None, port: int) -> None:
    """Serve the HTTP API and the page, as `hug -f api.py` does in a checkout.

    The server answers this machine only until a key is created: see `recognizer keys add --help`.
    """
    for name, value in state().overrides.items():
        os.environ[PREFIX + name.upper()] = str(value)
    state().settings()  # what is wrong with them is reported before anything is loaded
    _serve(_module(), host or "", port)


def _module() -> str:
    """The Hug module to serve: in the built package a module of it, in a checkout api.py beside the package."""
    if importlib.util.find_spec(_PACKAGED) is not None:
        return _PACKAGED
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "api.py").is_file():
        raise click.ClickException("api.py is missing: install the package again")
    sys.path.insert(0, str(checkout))
    return "api"


def _before_hug() -> None:
    """Let hug be imported, and quickly; see packaging/hug-numpy2. A .pth file has done so already where that is installed."""
    for name in ("hug_numpy2", "recognizer.http.hug_numpy2"):
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
            return
    import numpy

    if not hasattr(numpy, "unicode_"):
        numpy.unicode_ = numpy.str_  # type: ignore[attr-defined]  # hug 2.6 reads the name, which NumPy 2 removed


def _serve(module: str, host: str, port: int) -> None:
    """Run the `hug` command in this process. It ends the process."""
    end_quietly()
    _before_hug()
    from hug import development_runner

    from recognizer.http import early

    early.serving_by_command = True
    sys.argv = ["hug", "-m", module, "-p", str(port), *(["-ho", host] if host else [])]
    development_runner.hug.interface.cli()
