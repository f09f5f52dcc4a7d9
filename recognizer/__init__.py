"""Recognise faces: from Python, on the command line (`recognizer`), and as a server (`recognizer serve`).

::

    import recognizer

    with recognizer.open("known_faces") as people:
        for face in people.recognize("photo.jpg"):
            print(face.subject, face.distance)

`recognizer.People` is what `open` returns, `recognizer.errors` has every error that it raises, and
`recognizer.face_recognition` stands in for the package of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recognizer.core.version import __version__

if TYPE_CHECKING:
    import os

    from recognizer.core import errors
    from recognizer.people import People

#: `open` is left out, so that ``from recognizer import *`` does not replace Python's own.
__all__ = ["People", "__version__", "errors"]


def open(known_faces: str | os.PathLike[str] | None = None, **settings: Any) -> People:
    """Open a folder of known people; see `People` for what can be done with it.

    Parameters
    ----------
    known_faces : path, optional
        One folder per person, photos in it; created if it does not exist. By default the folder of the settings.
    **settings
        Any field of `recognizer.core.settings.Settings`, for example ``detector="hog"``; they override the environment.
        Changes in the folder are not followed unless ``watch=True`` is given.

    Raises
    ------
    SettingsError, ModelError, StorageError
    """
    from recognizer.people import People

    return People(known_faces, **settings)


def __getattr__(name: str) -> Any:
    """`People` and `errors`, imported when they are first used, so that the command line starts quickly."""
    if name == "People":
        from recognizer.people import People

        return People
    if name == "errors":
        from recognizer.core import errors

        return errors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
