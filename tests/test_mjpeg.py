"""Views: drawn and encoded once whoever watches, newest only, and nobody waits for anybody. Real threads throughout."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simplejpeg

from recognizer.core.errors import InvalidParameter
from recognizer.video.output.mjpeg import CONTENT_TYPE, OPENING, Encoded, View, Viewer, ViewKey, encode, view_key

SOON = 60.0


@pytest.fixture
def view(threads):
    view = View(ViewKey("door"), threads.submit)
    yield view
    view.close()


def shade(value: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def offer(view: View, value: int, taken: float | None = None, card: bool = False) -> bool:
    taken = float(value) if taken is None else taken
    return view.offer(lambda fps: shade(value), taken=taken, time=1000.0 + value, card=card)


def value_of(found: Encoded) -> int:
    return int(simplejpeg.decode_jpeg(found.jpeg).mean().round())


def wait_until(condition):
    until = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


# -- newest only, and once -------------------------------------------------------------------------------------------


def test_before_anything_is_offered_a_viewer_waits_as_long_as_it_says(view):
    assert view.next(0, timeout=0) is None
    assert view.next(0, timeout=0.05) is None
    assert view.fps == 0 and view.encoded == view.skipped == 0


def test_what_nobody_waits_for_is_not_encoded_and_the_newest_is(view):
    for value in range(1, 51):
        assert offer(view, value)
    assert view.encoded == 0
    found = view.next(0, timeout=SOON)
    assert found.number == 50 and value_of(found) == 50 and found.time == 1050.0 and not found.card
    assert view.encoded == 1 and view.skipped == 49


def test_a_slow_viewer_gets_the_newest_and_not_what_was_made_for_others_long_ago(view):
    offer(view, 1)
    assert view.next(0, SOON).number == 1
    for value in range(2, 20):
        offer(view, value)
    found = view.next(0, SOON)  # number 1 is above 0 too, but old by now
    assert found.number == 19 and value_of(found) == 19


def test_a_picture_that_was_had_is_waited_on(view):
    offer(view, 1)
    assert view.next(0, SOON).number == 1
    assert view.next(1, timeout=0.05) is None
    later = threading.Timer(0.05, lambda: offer(view, 2))
    later.start()
    assert view.next(1, SOON).number == 2
    later.join()


def test_ten_viewers_share_one_encoding_of_each_picture(threads):
    made = []

    def make(value):
        def draw(fps):
            made.append(value)
            return shade(value)

        return draw

    view = View(ViewKey("door"), threads.submit)
    got: list[dict[int, Encoded]] = [{} for _ in range(10)]

    def watch(seen):
        number = 0
        while (found := view.next(number, SOON)) is not None:
            seen[found.number] = found
            number = found.number

    viewers = [threading.Thread(target=watch, args=(seen,)) for seen in got]
    for viewer in viewers:
        viewer.start()
    for value in range(1, 31):
        view.offer(make(value), taken=float(value), time=float(value))
        wait_until(lambda value=value: all(value in seen for seen in got))
    view.close()
    for viewer in viewers:
        viewer.join(SOON)
    assert made == list(range(1, 31)) and view.encoded == 30
    for number in range(1, 31):
        assert len({id(seen[number].part) for seen in got}) == 1, "the very same bytes"


def test_a_viewer_that_is_stuck_delays_nobody(view):
    stuck = Viewer(view, lambda: None)
    assert stuck.read() == OPENING
    offer(view, 1)
    stuck.read()  # and never again
    for value in range(2, 40):
        offer(view, value)
        assert view.next(value - 1, SOON).number == value


def test_only_the_newest_picture_is_kept(view):
    kept = []

    def held(value):
        pixels = shade(value)
        kept.append(weakref.ref(pixels))
        return lambda fps: pixels

    for value in range(1, 30):
        view.offer(held(value), taken=float(value), time=0.0)
        if value % 3 == 0:
            view.next(0, SOON)
    gc.collect()
    assert sum(ref() is not None for ref in kept) <= 2


def test_closing_wakes_whoever_waits(view):
    waiting = [threading.Thread(target=view.next, args=(0, 60)) for _ in range(5)]
    for thread in waiting:
        thread.start()
    view.close()
    for thread in waiting:
        thread.join(SOON)
        assert not thread.is_alive()
    assert not offer(view, 1) and view.next(0, SOON) is None and view.closed


def test_a_picture_that_cannot_be_drawn_is_passed_over_and_logged(view, caplog):
    view.offer(lambda fps: 1 / 0, taken=1.0, time=1.0)
    assert view.next(0, timeout=0.2) is None
    assert "could not be drawn" in caplog.text and "ZeroDivisionError" in caplog.text
    offer(view, 2)
    assert view.next(0, SOON).number == 2


def test_when_the_threads_have_ended_a_viewer_only_waits(caplog):
    with ThreadPoolExecutor(1) as ended:
        view = View(ViewKey("door"), ended.submit)
    offer(view, 1)
    assert view.next(0, timeout=0.05) is None


# -- the rate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "fps", "expected"),
    [(30, 10, 10), (30, 20, 20), (30, 12.5, 12.5), (30, 30, 30), (30, 60, 30), (25, 0.5, 0.5), (30, None, 30)],
)
def test_a_view_takes_as_many_pictures_as_it_is_asked_for(threads, source, fps, expected):
    view = View(ViewKey("door", fps=fps), threads.submit)
    jitter = np.random.default_rng(1).uniform(-0.004, 0.004, 60 * source)
    taken = sum(offer(view, 1, taken=100 + n / source + jitter[n]) for n in range(60 * source))
    assert taken == pytest.approx(60 * expected, rel=0.02, abs=1)
    if expected > 2:
        assert view.fps == pytest.approx(expected, rel=0.1)


def test_after_a_pause_there_is_no_burst(threads):
    view = View(ViewKey("door", fps=5), threads.submit)
    assert offer(view, 1, taken=0.0) and offer(view, 1, taken=100.0)
    assert sum(offer(view, 1, taken=100 + n / 30) for n in range(1, 31)) == 5


def test_a_card_is_taken_whatever_the_rate(threads):
    view = View(ViewKey("door", fps=0.1), threads.submit)
    assert offer(view, 1, taken=0.0) and not offer(view, 2, taken=1.0)
    assert offer(view, 3, taken=1.0, card=True)
    found = view.next(0, SOON)
    assert found.card and value_of(found) == 3


# -- viewers ---------------------------------------------------------------------------------------------------------


def test_a_stream_is_made_of_parts_that_say_their_length(view):
    left = []
    viewer = Viewer(view, lambda: left.append(1))
    body = viewer.read(8192)
    for value in (10, 20):
        offer(view, value)
        body += viewer.read(8192)
    viewer.close()
    viewer.close()
    assert left == [1] and viewer.read() == b""
    mark = b"--" + CONTENT_TYPE.rsplit("=", 1)[1].encode() + b"\r\n"
    for value in (10, 20):
        assert body.startswith(mark)
        head, _, rest = body[len(mark) :].partition(b"\r\n\r\n")
        fields = dict(line.split(": ") for line in head.decode().split("\r\n"))
        assert fields["Content-Type"] == "image/jpeg" and float(fields["X-Timestamp"]) == 1000 + value
        length = int(fields["Content-Length"])
        assert simplejpeg.decode_jpeg(rest[:length]).mean() == pytest.approx(value, abs=1)
        assert rest[length : length + 2] == b"\r\n"
        body = rest[length + 2 :]
    assert body == mark, "browsers show a part when they see the next boundary"


def test_a_viewer_that_is_over_ends_also_while_nothing_comes(view):
    over = threading.Event()
    with Viewer(view, lambda: None, over.is_set) as viewer:
        viewer.read()
        threading.Timer(0.05, over.set).start()
        assert viewer.read() == b""


def test_a_view_that_is_closed_ends_its_viewers(view):
    viewer = Viewer(view, lambda: None)
    viewer.read()
    threading.Timer(0.05, view.close).start()
    assert viewer.read() == b""


# -- parameters ------------------------------------------------------------------------------------------------------


def test_what_is_not_asked_for_is_the_usual():
    assert view_key("door") == ViewKey("door") == ViewKey("door", None, 80, None, frozenset({"faces"}))
    assert view_key("door", 640, 5.0, 50, "none") == ViewKey("door", 640, 50, 5.0, frozenset())


@pytest.mark.parametrize(
    "asked",
    [
        {"width": 15},
        {"width": 7681},
        {"width": -1},
        {"fps": 0.0},
        {"fps": 121.0},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"quality": 0},
        {"quality": 101},
        {"overlay": "boxes"},
    ],
)
def test_what_is_out_of_range_is_refused_by_name(asked):
    with pytest.raises(InvalidParameter, match=f"^{next(iter(asked))}: expected"):
        view_key("door", **asked)


@pytest.mark.parametrize("size", [(1, 1), (9, 16), (240, 426), (719, 1281)])
def test_pictures_of_any_size_are_encoded(size):
    assert simplejpeg.decode_jpeg(encode(shade(90, size), 80)).shape == (*size, 3)
    assert encode(shade(90, size)[::-1, ::-1], 80)
