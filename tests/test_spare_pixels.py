"""Memory of pictures that is used again, and never while somebody has the picture."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import simplejpeg

from recognizer.video.frames import Frame, FrameResult
from recognizer.video.output import overlay
from recognizer.video.sources.http_camera import decode_jpeg
from recognizer.video.spare_pixels import SparePixels


def test_an_array_that_nobody_has_is_given_again():
    spare = SparePixels()
    where = spare.take(4, 6).ctypes.data
    assert spare.take(4, 6).ctypes.data == where
    taken = spare.take(4, 6)
    assert taken.shape == (4, 6, 3) and taken.dtype == np.uint8 and taken.flags.c_contiguous
    assert not np.shares_memory(taken, spare.take(4, 6)) and not np.shares_memory(taken, spare.take(6, 4))


def test_one_of_which_somebody_has_a_part_is_not():
    spare = SparePixels()
    part = spare.take(8, 8)[2:4, 1:, 0]
    assert not np.shares_memory(part, spare.take(8, 8))


def test_only_so_many_are_kept():
    spare = SparePixels(2)
    let_go, *held = (weakref.ref(taken) if number == 0 else taken for number, taken in enumerate(_taken(spare, 3)))
    assert let_go() is None, "nothing keeps the oldest"
    assert not any(np.shares_memory(spare.take(8, 8), each) for each in held)


def _taken(spare: SparePixels, count: int) -> list[np.ndarray]:
    return [spare.take(8, 8) for _ in range(count)]


def test_threads_never_get_the_same_array():
    spare, wrong = SparePixels(3), []

    def work(mark: int) -> None:
        for _ in range(300):
            mine = spare.take(16, 16)
            mine[...] = mark
            wrong.extend(each for each in (mine[0, 0, 0], mine[-1, -1, -1]) if each != mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


def test_a_picture_of_a_camera_is_not_overwritten_by_the_next():
    spare = SparePixels(1)
    jpegs = [simplejpeg.encode_jpeg(np.full((24, 32, 3), level, np.uint8), 95) for level in (20, 120, 220)]
    pictures = [decode_jpeg(each, spare) for each in jpegs]
    assert [round(each.mean(), -1) for each in pictures] == [20, 120, 220]
    assert all(np.array_equal(each, decode_jpeg(jpeg)) for each, jpeg in zip(pictures, jpegs, strict=True))


def test_a_drawn_picture_is_the_same_in_used_memory():
    spare = SparePixels(1)
    noise = np.random.default_rng(2).integers(0, 256, (90, 160, 3)).astype(np.uint8)
    result = FrameResult(Frame(noise, 0, 0.0, 0.0), (), (), (), 0, {})
    for width in (None, 80, 100):
        spare.take(90, 160)[...] = 7
        drawn = overlay.draw(result, width=width, clock=0.0, spare=spare)
        assert np.array_equal(drawn, overlay.draw(result, width=width, clock=0.0))
        assert not np.shares_memory(drawn, noise)
