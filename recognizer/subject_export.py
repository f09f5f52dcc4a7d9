"""Everything that is held about a subject, in one ZIP file that a person can read."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import StorageError
from .files import new_file

_ABOUT = """\
This is everything that this installation of Recognizer holds about {name}, as of {when}.

photos/           the photos that enrol {name}, as they were received; .face files hold a template instead of a photo
thumbnails/       small pictures of the face in each
templates.json    what the server compares faces with: numbers that were computed from each photo
consent.json      the note and the expiry that were kept with the photos
events.json       when and where {name} was recognised by a camera, with the pictures in events/
audit.json        what was done with this data, by whom and when

Templates are biometric data: whoever has them can recognise {name}. Keep this file as you would keep the photos.
"""


@dataclass(frozen=True)
class Holding:
    """What is held about one subject.

    Attributes
    ----------
    photos, thumbnails, event_pictures : iterable of (str, bytes)
        Names of files, and what they hold; read one after the other.
    templates, events, audit : list of dict
    consent : dict
    """

    name: str
    photos: Iterable[tuple[str, bytes]]
    thumbnails: Iterable[tuple[str, bytes]]
    event_pictures: Iterable[tuple[str, bytes]]
    templates: list[dict]
    events: list[dict]
    audit: list[dict]
    consent: dict


def write(holding: Holding, to: Path) -> dict[str, int]:
    """Write the file, which only its owner can read, and which is there when it is whole; how many of each are in it.

    Raises
    ------
    StorageError
    """
    counts = {"templates": len(holding.templates), "events": len(holding.events), "audit": len(holding.audit)}
    with _new_file(to) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        archive.writestr("README.txt", _ABOUT.format(name=holding.name, when=when))
        for folder, files in (
            ("photos", holding.photos), ("thumbnails", holding.thumbnails), ("events", holding.event_pictures)
        ):  # fmt: skip
            what = "event_pictures" if folder == "events" else folder
            counts[what] = 0
            for name, data in files:
                archive.writestr(zipfile.ZipInfo(f"{folder}/{name}", time.gmtime()[:6]), data)
                counts[what] += 1
        for name in ("templates", "events", "audit", "consent"):
            text = json.dumps(getattr(holding, name), ensure_ascii=False, indent=1)
            archive.writestr(f"{name}.json", text)
    return counts


@contextmanager
def _new_file(to: Path) -> Iterator:
    """A file that gets the name `to` when everything is written; nothing is left where that fails."""
    try:
        with new_file(to) as file:
            yield file
    except OSError as error:
        raise StorageError(f"the file cannot be written: {(error.strerror or type(error).__name__).lower()}") from error
