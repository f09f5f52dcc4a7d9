"""Whole services for tests: in a folder of their own, with the engine that loads fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recognizer.core.settings import Settings
from recognizer.service import Service, make_service


def quick_settings(root: Path, models_dir: Path, **more) -> Settings:
    """Settings of an installation below `root` that one thread is enough for; `more` replaces or adds some."""
    usual = {"detector": "yunet", "embedder": "sface", "watch": False, "workers": 1}
    return Settings(known_faces=root / "known", state_dir=root / "state", models_dir=models_dir, **{**usual, **more})


@contextmanager
def started(settings: Settings) -> Iterator[Service]:
    """A service that is ready; it is closed afterwards."""
    made = make_service(settings)
    try:
        made.start()
        yield made
    finally:
        made.close()
