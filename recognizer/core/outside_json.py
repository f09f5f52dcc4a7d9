"""JSON of files that people or other programs may have written: of bounded size, and with one error for all that is wrong."""

from __future__ import annotations

import json
from typing import Any, NoReturn

#: Largest file of such JSON, in bytes, where nothing else is said: of its values, none takes more than 64 times its bytes.
MOST_BYTES = 1 << 16


def parse_outside(data: bytes, most: int = MOST_BYTES) -> Any:
    """The value of a JSON text from outside.

    Parameters
    ----------
    data : bytes
    most : int
        Largest size of `data`.

    Raises
    ------
    ValueError
        It is larger, nested too deeply, has numbers that are none, or is no JSON.
    """
    if len(data) > most:
        raise ValueError(f"expected at most {most} bytes, got {len(data)}")
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
