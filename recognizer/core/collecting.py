"""Python's garbage collector while a program loads: it would go through everything again and again, and find nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_later(*, freeze: bool) -> Iterator[None]:
    """Collect no garbage within the block, which imports and builds what stays.

    Parameters
    ----------
    freeze : bool
        Later collections skip whatever exists at the end of the block, garbage too. For a process that does nothing else.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        if enabled:
            gc.enable()
