"""What begins before the rest of a server is imported: its networks load on a thread meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from recognizer.core import logs
from recognizer.core.ahead import SWITCH_SECONDS
from recognizer.core.collecting import collecting_later
from recognizer.core.errors import SettingsError
from recognizer.core.settings import Settings
from recognizer.engines import Engine, engine_ahead
from recognizer.http.server import hug_is_serving


@contextmanager
def loading_early() -> Iterator[Callable[..., Engine] | None]:
    """For the block that imports everything else; what it gives makes the engine.

    Where the `hug` command is about to serve, the engine of the settings begins to load. Under another WSGI server nothing
    does: the first request to a process waits for the load, and perhaps none comes.
    """
    with collecting_later(freeze=False):
        make = None
        if hug_is_serving():
            try:
                settings = Settings.from_environment()
            except SettingsError:  # `Site` reports it
                pass
            else:
                logs.configure(settings.log, settings.log_level)
                sys.setswitchinterval(SWITCH_SECONDS)  # as while it serves
                make = engine_ahead(settings.engine_recipe)
        yield make
