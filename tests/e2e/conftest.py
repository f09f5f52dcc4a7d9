"""Servers that many tests share, and the photos they are asked about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import pictures
from .browsing import SHARED_BROWSER, chromium, film, visit  # noqa: F401, fixtures
from .client_packages import clients, node_clients, samples  # noqa: F401, fixtures
from .homes import home, inhabited  # noqa: F401, fixtures
from .serving import ANNOUNCED, Server
from .stages import stage  # noqa: F401, a fixture
from .web import Web

#: Limits of the `reader`, small enough to be gone beyond quickly.
MAX_BYTES, MAX_PIXELS, MAX_BODY, MAX_PHOTOS = 3_000_000, 4_000_000, 5_000_000, 5


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        for name, value in item.funcargs.items():
            if isinstance(value, Server):
                report.sections.append((f"log of the server {name!r}", value.log()[-8000:]))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    try:
        return (yield)
    finally:
        SHARED_BROWSER.end_before(item, nextitem)


@pytest.fixture(scope="session")
def faces(photos: dict[str, Path]) -> dict[str, bytes]:
    """Photos by who is on them; small, so that every request is quick."""
    read = {
        name: pictures.smaller(photos[file].read_bytes(), 800)
        for name, file in (
            ("obama", "obama.jpg"),
            ("obama2", "obama2.jpg"),
            ("obama3", "obama3.jpg"),
            ("biden", "biden.jpg"),
            ("collins", "astronaut.png"),
        )
    }
    read["nobody"] = pictures.nobody()
    read["trio"] = pictures.side_by_side([read["obama2"], read["biden"], read["collins"]])
    return read


@pytest.fixture(scope="module")
def people_in(request, tmp_path_factory) -> dict[str, str]:
    """Settings of a server whose people are in a folder; for a test that is `IN_FOLDER_AND_DATABASE`, also of a node."""
    if getattr(request, "param", "folder") == "folder":
        return {}
    return {
        "database_url": request.getfixturevalue("cluster").make_database(),
        "photos": str(tmp_path_factory.mktemp("stored-photos")),
    }


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture(scope="session")
def reader(tmp_path_factory, faces) -> Iterator[Server]:
    """A server with Obama and Biden enrolled, for tests that change nothing."""
    server = Server(
        tmp_path_factory.mktemp("reader"),
        max_image_bytes=MAX_BYTES,
        max_image_pixels=MAX_PIXELS,
        max_body_bytes=MAX_BODY,
        max_photos=MAX_PHOTOS,
        fetch_timeout=1.5,
    )
    server.put("Barack Obama/one.jpg", faces["obama"])
    server.put("Joe Biden/one.jpg", faces["biden"])
    with server:
        yield server


@pytest.fixture(scope="session")
def _writer(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("writer"), ANNOUNCED) as server:
        yield server


@pytest.fixture(scope="module")
def without_camera(tmp_path_factory) -> Iterator[Server]:
    """A server for the tests of a module, each of which decides who is enrolled."""
    with Server(tmp_path_factory.mktemp("without-camera"), camera="none") as server:
        yield server


@pytest.fixture
def writer(_writer) -> Server:
    """A server with nobody enrolled, for the test to change."""
    _writer.clear()
    return _writer
