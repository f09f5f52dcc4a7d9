"""What begins before the rest of a server is imported: its networks load on a thread meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer.core.interrupts import end_quietly

if TYPE_CHECKING:
    from recognizer.engines import Engine

#: Set by `recognizer serve`, whose process is the `hug` command under another name.
serving_by_command = False


def hug_is_serving() -> bool:
    """Whether this process is the `hug` command, about to serve the module that asks."""
    if serving_by_command:
        return True
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return "hug.development_runner" in sys.modules and Path(main).stem in ("hug", "hug-script") and "-c" not in sys.argv


@contextmanager
def loading_early() -> Iterator[Callable[..., Engine] | None]:
    """For the block that imports everything else; what it gives makes the engine.

    Where the `hug` command is about to serve, the engine of the settings begins to load. Under another WSGI server nothing
    does: the first request to a process waits for the load, and perhaps none comes. Until the server handles signals, they end
    the process at once.
    """
    serving = hug_is_serving()
    if serving:
        end_quietly()
    from recognizer.core import logs
    from recognizer.core.ahead import SWITCH_SECONDS
    from recognizer.core.collecting import collecting_later
    from recognizer.core.errors import SettingsError
    from recognizer.core.settings import Settings
    from recognizer.engines import engine_ahead

    with collecting_later(freeze=False):
        make = None
        if serving:
            try:
                settings = Settings.from_environment()
            except SettingsError:  # `Site` reports it
                pass
            else:
                logs.configure(settings.log, settings.log_level)
                sys.setswitchinterval(SWITCH_SECONDS)  # as while it serves
                make = engine_ahead(settings.engine_recipe)
        yield make
