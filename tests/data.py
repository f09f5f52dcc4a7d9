"""Where the photos are that tests may use but the project does not carry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: Taken out of the environment, where the settings would take it for one of theirs that is misspelt.
FOLDER = Path(os.environ.pop("RECOGNIZER_TEST_DATA", "") or Path(__file__).resolve().parents[2] / "shared" / "data")


def folder(name: str) -> Path:
    """The folder `name` of the test data, or a skip that says what is missing."""
    path = FOLDER / name
    if not path.is_dir():
        pytest.skip(f"no test data: {name} is not in RECOGNIZER_TEST_DATA")
    return path
