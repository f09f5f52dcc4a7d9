"""Reads the frames of a video file for programs that want them once, as fast as they come: no camera, no pace.

The same processes decode that cameras use, with the same limits; see `process.py`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np

from recognizer.core.errors import BrokenVideo, DecoderUnavailable
from recognizer.video.sources.base import SourceEnded, SourceLost, Stopper
from recognizer.video.sources.process import ProcessReader, decoder_config
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import CameraSource

#: Seconds within which a video must give its next frame.
PATIENCE = 60.0
#: Seconds between two looks whether reading is to end.
_LOOK = 0.5


def frames_of(
    path: Path,
    *,
    start: float = 0.0,
    every: float = 0.0,
    key_frames: bool = False,
    ended: threading.Event | None = None,
    patience: float = PATIENCE,
) -> Generator[tuple[float, np.ndarray]]:
    """The frames of a video file: seconds from its beginning, and RGB uint8 (H, W, 3), turned upright, pixels square.

    Parameters
    ----------
    path : Path
    start : float
        Frames before this position are passed over, except those since the key frame before it.
    every : float
        Least number of seconds between two frames.
    key_frames : bool
        Only key frames, which are decoded many times faster; how far they are apart is up to whoever made the video.
    ended : threading.Event, optional
        Ends reading, before the next frame.
    patience : float
        Seconds within which the next frame must come.

    Raises
    ------
    BrokenVideo
        It gives no frame at all, or stops giving any. One that is damaged further on ends there.
    DecoderUnavailable
        No process could be started, or it did not answer.
    """
    source = CameraSource("file", str(path), False, path.name)
    stopper, seen = Stopper(), False
    with contextlib.ExitStack() as closing:
        try:
            config = decoder_config(source, stopper, Reach(()), False, patience)
            if "descriptor" in config:
                closing.callback(os.close, config["descriptor"])
            config |= {"start": start, "every": every, "key_frames": key_frames, "threads": 1}
            inherited = (config["descriptor"],) if "descriptor" in config else ()
            reader = closing.enter_context(contextlib.closing(ProcessReader(config, stopper, inherit=inherited)))
            until = time.monotonic() + patience
            while not (ended is not None and ended.is_set()):
                shot = reader.read(_LOOK)
                if shot is not None:
                    pixels = shot.load()
                    seen = True
                    yield shot.position or 0.0, pixels
                    until = time.monotonic() + patience
                elif time.monotonic() > until:
                    raise BrokenVideo("the video cannot be used: it gives no pictures")
        except SourceEnded as end:
            if not seen:
                raise BrokenVideo(f"the video cannot be used: {end}") from None
        except SourceLost as lost:  # the machine's fault, as far as that can be told
            raise DecoderUnavailable(f"the video cannot be decoded at the moment: {lost}") from None


def frame_at(path: Path, seconds: float) -> np.ndarray:
    """The frame that is shown at a position, RGB uint8 (H, W, 3); the last one where the video ends before.

    Raises
    ------
    BrokenVideo
    """
    last = None
    with contextlib.closing(frames_of(path, start=seconds)) as frames:
        for position, pixels in frames:
            if last is not None and position > seconds + _SAME:
                break
            last = pixels
            if position >= seconds - _SAME:
                break
    if last is None:
        raise BrokenVideo("the video cannot be used: it gives no pictures")
    return last


#: Seconds by which the position of a frame may differ from run to run.
_SAME = 0.005
