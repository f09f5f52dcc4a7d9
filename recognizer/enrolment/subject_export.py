"""Everything that is stored about a subject, in one ZIP file that a person can read."""

from __future__ import annotations

import time
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from recognizer.core.disk import disk_errors
from recognizer.core.files import new_file
from recognizer.core.holdings import ExportedFile

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


def write(name: str, files: Iterable[ExportedFile], to: Path) -> dict[str, int]:
    """Write the ZIP file, readable by its owner only; it appears when it is complete.

    Parameters
    ----------
    name : str
        The subject.
    files : iterable of ExportedFile
        Read one after the other.

    Returns
    -------
    dict
        The number of things of each kind.

    Raises
    ------
    StorageError
    """
    counts: Counter[str] = Counter(dict.fromkeys(("photos", "thumbnails", "event_pictures"), 0))
    with (
        disk_errors("the file cannot be written"),
        new_file(to) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        archive.writestr("README.txt", _ABOUT.format(name=name, when=when))
        for each in files:
            archive.writestr(zipfile.ZipInfo(each.path, time.gmtime()[:6]), each.data, zipfile.ZIP_DEFLATED)
            counts[each.kind] += each.items
    return dict(counts)
