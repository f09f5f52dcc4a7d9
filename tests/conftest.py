"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

from recognizer import audit, models
from recognizer.settings import Settings

from . import enrolling, fuzz
from . import photos as real_photos
from .certificates import authority  # noqa: F401, a fixture


def pytest_addoption(parser):
    parser.addoption("--long", type=int, default=1, metavar="N", help="try N times as many made-up inputs, others each time")


def pytest_configure(config):
    fuzz.configure(config.getoption("--long"))


@pytest.fixture(autouse=True)
def nobody_acts_yet():
    """Commands that ran in this process said who acts."""
    audit.ACTOR.set("local")


@pytest.fixture(scope="session")
def photos() -> dict[str, Path]:
    """Real photos by file name, for example ``photos["obama.jpg"]``; see `tests.photos` for the list. Read only."""
    return real_photos.fetch_photos()


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder with all weights of the manifest in it. Read only."""
    folder = Settings.from_environment().models_dir
    models.ensure(models.MANIFEST, folder)
    return folder


@pytest.fixture(scope="module")
def recipe(models_dir) -> dict:
    """What makes the quick engine of the tests that enrol."""
    return {"detector": "yunet", "embedder": "sface", "models_dir": models_dir}


@pytest.fixture(scope="module")
def engine(recipe):
    from recognizer.engines import make_engine

    return make_engine(**recipe)


@pytest.fixture(scope="session")
def faces(photos) -> dict[str, bytes]:
    """Photos of one person each, as JPEG."""
    names = {"obama": "obama.jpg", "biden": "biden.jpg", "collins": "astronaut.png"}
    return {name: enrolling.jpeg(enrolling.portrait(photos[file])) for name, file in names.items()}
