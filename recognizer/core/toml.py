"""Parsing TOML: Python's own parser since version 3.11, and the package tomli before."""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document.

    Raises
    ------
    ValueError
        The text is not TOML; the message says where.
    """
    document: dict[str, Any] = tomllib.loads(text)
    return document
