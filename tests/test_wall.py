"""The wall: pictures of several views in one stream, newest only, and nothing is encoded for a viewer that does not read."""

from __future__ import annotations

import threading

import pytest
import simplejpeg

from recognizer.video.output.mjpeg import OPENING, View, ViewKey
from recognizer.video.output.wall import CONTENT_TYPE, WallViewer

from .streams import ends, wait_for
from .test_mjpeg import offer


@pytest.fixture
def views(threads):
    made = {name: View(ViewKey(name), threads.submit) for name in ("door", "yard", "hall")}
    yield made
    for view in made.values():
        view.close()


def parts_of(data: bytes) -> dict[str, int]:
    """The brightness of the picture of each camera in what was read."""
    assert data.endswith(OPENING)
    found = {}
    for part in data[: -len(OPENING)].split(OPENING):
        head, _, rest = part.partition(b"\r\n\r\n")
        fields = dict(line.split(": ") for line in head.decode().split("\r\n"))
        jpeg = rest[: int(fields["Content-Length"])]
        assert rest[len(jpeg) :] == b"\r\n" and fields["Content-Type"] == "image/jpeg" and float(fields["X-Timestamp"])
        found[fields["X-Camera"]] = round(simplejpeg.decode_jpeg(jpeg).mean())
    return found


def gathered(viewer: WallViewer, wanted: dict[str, int]) -> None:
    """Read until these pictures have come, and no others."""
    seen: dict[str, int] = {}
    while seen != wanted:
        more = parts_of(ends(viewer.read))
        assert more.items() <= wanted.items()
        seen |= more


def test_each_camera_has_its_newest_picture_once(views):
    assert CONTENT_TYPE == "multipart/mixed; boundary=frame"
    with WallViewer(views, lambda: None) as viewer:
        assert viewer.read() == OPENING
        for value in (10, 60):
            offer(views["door"], value)
            offer(views["yard"], value + 20)
        gathered(viewer, {"door": 60, "yard": 80})
        offer(views["hall"], 200)
        gathered(viewer, {"hall": 200})
        offer(views["yard"], 100)
        gathered(viewer, {"yard": 100})


def test_a_viewer_that_waits_is_woken_by_any_camera(views):
    with WallViewer(views, lambda: None) as viewer:
        viewer.read()
        got = []
        thread = threading.Thread(target=lambda: got.append(viewer.read()))
        thread.start()
        wait_for(lambda: views["hall"]._wakes)
        offer(views["hall"], 90)
        ends(thread.join)
        assert parts_of(got[0]) == {"hall": 90}


def test_for_a_viewer_that_does_not_read_one_picture_is_encoded_and_no_more(views):
    with WallViewer(views, lambda: None) as viewer:
        viewer.read()
        offer(views["door"], 10)
        gathered(viewer, {"door": 10})
        view = views["door"]
        for value in range(20, 80):
            offer(view, value)
            wait_for(lambda: not view._encoding)
        assert view.encoded <= 2
        gathered(viewer, {"door": 79})


def test_one_encoding_serves_a_wall_and_a_viewer_of_one_camera(views):
    with WallViewer(views, lambda: None) as viewer:
        viewer.read()
        offer(views["door"], 50)
        alone = ends(views["door"].next)
        gathered(viewer, {"door": 50})
        assert alone is not None and views["door"].encoded == 1


def test_a_camera_that_is_removed_leaves_the_others_and_the_last_one_ends_the_stream(views):
    left = []
    viewer = WallViewer(views, lambda: left.append(True))
    viewer.read()
    views["door"].close()
    offer(views["yard"], 30)
    gathered(viewer, {"yard": 30})
    views["yard"].close()
    views["hall"].close()
    assert ends(viewer.read) == b""
    viewer.close()
    viewer.close()
    assert left == [True]


def test_a_viewer_that_is_over_ends_while_nothing_comes_and_asks_for_nothing_more(views):
    over = threading.Event()
    viewer = WallViewer(views, lambda: None, over.is_set)
    viewer.read()
    threading.Timer(0.05, over.set).start()
    assert ends(viewer.read) == b""
    viewer.close()
    assert not any(view._wakes for view in views.values())
    offer(views["door"], 10)
    assert views["door"].encoded == 0
