"""One photo after the other: what came in, what was there already, and what was refused and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from recognizer.core.errors import Busy, RecognizerError, StorageError


@dataclass(frozen=True)
class Incoming:
    """A photo that is to be enrolled.

    Attributes
    ----------
    subject : str
        The name there.
    label : str
        Where it is, in words for the report.
    read : callable
        Returns its bytes; raises RecognizerError.
    """

    subject: str
    label: str
    read: Callable[[], bytes]


@dataclass
class ImportReport:
    """The outcome of an import.

    Attributes
    ----------
    added, known : int
        Photos that are new here, and that were enrolled before.
    refused : list of dict
        ``subject``, ``photo``, ``code`` and ``message`` of each photo that was not enrolled.
    """

    added: int = 0
    known: int = 0
    refused: list[dict[str, str]] = field(default_factory=list)

    def refuse(self, subject: str, label: str, error: RecognizerError) -> None:
        self.refused.append({"subject": subject, "photo": label, "code": error.code, "message": error.message})


def import_photos(
    incoming: Sequence[Incoming],
    enrol: Callable[[str, bytes], bool],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """Enrol photos. Interrupted, it can be called again: what is enrolled is recognised by its content.

    Parameters
    ----------
    incoming : sequence of Incoming
    enrol : callable
        Enrols a photo of a subject; returns whether it is new. Must return False quickly for one that is enrolled.
    progress : callable, optional
        Called with ``(done, total)``.

    Raises
    ------
    Busy, StorageError
        Nothing more can be stored: the rest would fail too.
    """
    report = ImportReport()
    for number, each in enumerate(incoming):
        progress(number, len(incoming))
        try:
            new = enrol(each.subject, each.read())
            report.added += new
            report.known += not new
        except (Busy, StorageError):
            raise
        except RecognizerError as error:
            report.refuse(each.subject, each.label, error)
    progress(len(incoming), len(incoming))
    return report
