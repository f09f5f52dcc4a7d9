"""Where the photos are that tests may use but the project does not carry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: Where the test data lies: ``TEST_DATA_DIR``, or the folder shared/data beside the checkout.
FOLDER = Path(os.environ.get("TEST_DATA_DIR") or Path(__file__).resolve().parents[2] / "shared" / "data")


def folder(name: str) -> Path:
    """The folder `name` of the test data, or a skip that says what is missing."""
    path = FOLDER / name
    if not path.is_dir():
        pytest.skip(f"no test data: {name} is not in TEST_DATA_DIR")
    return path
