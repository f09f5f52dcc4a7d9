"""known_faces is followed while the server runs: what is put there, moved or removed counts as soon as the system announces it.

The server of these tests does not look at the folder regularly, as others do every half minute.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager

import pytest

from .serving import Server


@contextmanager
def client_that_never_waits(server: Server, photo: bytes):
    """A client that recognises without a pause meanwhile, and none of whose requests may fail."""
    stop, statuses = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                statuses.append(server.post("/recognize", data=photo).status_code)
            except Exception as error:  # told below, in the test's own thread
                statuses.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert set(statuses) == {200}, statuses


def soon(server: Server, photo: bytes, expected: list[str | None]) -> None:
    server.wait_for(lambda: server.names(photo) == expected)


@pytest.fixture
def live(writer, faces):
    with client_that_never_waits(writer, faces["collins"]):
        yield writer


def test_everything_that_people_do_with_files(live, faces, tmp_path):
    folder, photo = live.known_faces, faces["obama2"]

    live.put("Barack/one.jpg", faces["obama"])
    soon(live, photo, ["Barack"])

    (folder / "Barack").rename(folder / "Barack Obama")
    soon(live, photo, ["Barack Obama"])

    outside = tmp_path / "outside"
    (folder / "Barack Obama").rename(outside)
    soon(live, photo, [None])
    shutil.copytree(outside, folder / "Mr President")
    soon(live, photo, ["Mr President"])

    (folder / "Joe").mkdir()
    live.put("Joe/biden.jpg", faces["biden"])
    soon(live, faces["biden"], ["Joe"])
    (folder / "Joe" / "biden.jpg").rename(folder / "Mr President" / "biden.jpg")
    soon(live, faces["biden"], ["Mr President"])
    live.put("Mr President/biden.jpg", faces["collins"])  # the same file, another photo
    soon(live, faces["biden"], [None])
    soon(live, faces["collins"], ["Mr President"])

    (folder / "Mr President" / "one.jpg").unlink()
    soon(live, photo, [None])
    shutil.rmtree(folder / "Mr President")
    soon(live, faces["collins"], [None])
    live.wait_for(lambda: live.people() == {} or list(live.people()) == ["Joe"])


def test_a_copy_that_takes_its_time(live, faces):
    data = faces["obama"]
    place = live.put("Slow/copy.jpg", b"")
    with place.open("ab") as file:
        for n in range(8):
            file.write(data[len(data) * n // 8 : len(data) * (n + 1) // 8])
            file.flush()
            time.sleep(0.2)
            assert live.names(faces["obama2"]) == [None] or n == 7
    soon(live, faces["obama2"], ["Slow"])
    assert live.get("/people").json()["problems"] == []


def test_a_copy_that_breaks_off_and_is_completed_later(live, faces):
    data = faces["obama"]
    place = live.put("Half/copy.jpg", data[: len(data) // 2])
    live.wait_for(lambda: [problem["code"] for problem in live.get("/people").json()["problems"]] == ["broken_image"])
    with place.open("ab") as file:
        file.write(data[len(data) // 2 :])
    soon(live, faces["obama2"], ["Half"])
    assert live.get("/people").json()["problems"] == []


def test_a_file_that_keeps_an_old_date(live, faces, tmp_path):
    """`cp -p` and archives give a new file the date of the old one."""
    import os

    source = tmp_path / "old.jpg"
    source.write_bytes(faces["obama"])
    os.utime(source, (1_000_000_000, 1_000_000_000))
    (live.known_faces / "Old").mkdir()
    shutil.copy2(source, live.known_faces / "Old" / "old.jpg")
    soon(live, faces["obama2"], ["Old"])


def test_many_photos_at_once(live, faces):
    from . import pictures

    for n in range(12):
        live.put(f"Person {n}/one.jpg", pictures.smaller(faces["obama"], 300 + n))
    live.wait_for(lambda: len(live.people()) == 12, 20)
    shutil.rmtree(live.known_faces)
    live.known_faces.mkdir()
    live.wait_for(lambda: live.people() == {}, 20)
    live.put("Again/one.jpg", faces["obama"])
    live.wait_for(lambda: live.names(faces["obama2"]) == ["Again"], 10)


def test_files_and_requests_at_the_same_time(live, faces):
    live.enroll("Barack Obama", faces["obama"])
    live.put("Barack Obama/by hand.jpg", faces["obama2"])
    live.put("Joe Biden/by hand.jpg", faces["biden"])
    assert live.enroll("Joe Biden", faces["biden"]).status_code in (200, 201)
    live.wait_for(
        lambda: {name: person["templates"] for name, person in live.people().items()} == {"Barack Obama": 2, "Joe Biden": 1}
    )
    assert live.request("DELETE", "/people/Joe Biden").json()["left"]["files"] == 0
    assert live.names(faces["biden"]) == [None]
    assert live.names(faces["obama3"]) == ["Barack Obama"]
