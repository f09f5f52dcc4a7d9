"""Recognise faces: as a server (`hug -f api.py`), on the command line (`python -m recognizer`), and from Python.

::

    import recognizer

    with recognizer.open("known_faces") as people:
        for face in people.recognize("photo.jpg"):
            print(face.subject, face.distance)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .people import People

__version__ = "0.1.0"
__all__ = ["open"]

# ONNX Runtime from 1.29 on tells its makers what runs where, unless this stands here when it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenCV's threads would spin after each small job, on cores that others have work for: with that off, the network for objects
# takes 31 ms instead of 40 on two cores, and 47 ms of processor time instead of 72.
for _spinning in ("OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN", "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER"):
    os.environ.setdefault(_spinning, "0")


def open(known_faces: str | os.PathLike | None = None, **settings) -> People:
    """Open a folder of known people; see `people.People` for what can be done with it.

    Parameters
    ----------
    known_faces : path, optional
        One folder per person, photos in it; made if it is not there. By default the setting's.
    **settings
        Any field of `settings.Settings`, for example ``detector="hog"``; they win over the environment. The
        folder is not followed unless ``watch=True`` is given.

    Raises
    ------
    SettingsError, ModelError, StorageError
    """
    from .people import People

    return People(known_faces, **settings)
