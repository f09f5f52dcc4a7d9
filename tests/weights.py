"""Where tests find weights that are fetched rather than installed."""

import os
from pathlib import Path

import pytest

from recognizer.settings import Settings


def weights(name: str) -> Path:
    """The file of that name in the models folder; the test is skipped where it has not been fetched."""
    folder = Path(os.environ.get("RECOGNIZER_MODELS_DIR") or Settings().models_dir)
    if not (folder / name).is_file():
        pytest.skip(f"needs {name} in the models folder (RECOGNIZER_MODELS_DIR)")
    return folder / name
