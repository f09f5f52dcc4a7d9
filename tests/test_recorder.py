"""Pictures into a video file: how long each is seen, whenever it came."""

import cv2
import numpy as np
import pytest

from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.video.output.recorder import Recorder


def record(path, times, rate=None) -> tuple[float, int]:
    """Frames per second and frames of the file that pictures of these times make; each is darker than the next one."""
    recorder = Recorder(path, rate)
    for number, time in enumerate(times):
        recorder.add(np.full((64, 96, 3), 8 * number % 256, np.uint8), time)
    recorder.close()
    video = cv2.VideoCapture(str(path))
    found = video.get(cv2.CAP_PROP_FPS), 0
    while video.read()[0]:
        found = found[0], found[1] + 1
    video.release()
    return found


@pytest.mark.parametrize("first", [0.3, 0.001, 0.05], ids=["late", "in a burst", "even"])
def test_the_rate_is_that_of_the_pictures_whenever_the_first_two_came(tmp_path, first):
    times = [0.0, *(first + np.arange(40) / 20)]
    rate, frames = record(tmp_path / "video.mp4", times)
    assert rate == pytest.approx(20, rel=0.05)
    assert frames / rate == pytest.approx(times[-1] + 0.05, abs=0.15)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
def test_few_pictures_are_all_there(tmp_path, count):
    rate, frames = record(tmp_path / "video.avi", np.arange(count) / 10)
    assert frames == count and rate == pytest.approx(25 if count == 1 else 10, rel=0.05)


def test_nothing_makes_no_file(tmp_path):
    Recorder(tmp_path / "video.mp4").close()
    assert not (tmp_path / "video.mp4").exists()


def test_times_that_stand_still_or_go_back_do_no_harm(tmp_path):
    assert record(tmp_path / "video.mp4", [5, 5, 5, 5, 5, 5])[1] >= 1
    assert record(tmp_path / "back.mp4", [5, 4, 3, 4, 5, 5.1, 5.2])[1] >= 1


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(InvalidParameter):
        Recorder(tmp_path / "video.gif")
    recorder = Recorder(tmp_path / "missing" / "video.mp4")
    recorder.add(np.zeros((64, 64, 3), np.uint8), 0.0)
    with pytest.raises(StorageError):
        recorder.close()
