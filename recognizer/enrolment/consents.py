"""Consent notes of the subjects: read from the folder, and nobody whose consent has expired is in the gallery."""

from __future__ import annotations

from collections.abc import Mapping

from recognizer.core.consent import FILE as CONSENT_FILE
from recognizer.core.consent import Consent
from recognizer.core.errors import StorageError
from recognizer.enrolment.encodings import FileStamp
from recognizer.enrolment.entries import EnrolmentState
from recognizer.enrolment.folder_look import Problem


class Consents:
    """The notes of all subjects, as of the last scan of the folder. Takes the table's lock itself.

    Parameters
    ----------
    state : EnrolmentState
        Its table hides the subjects whose consent has expired.

    Attributes
    ----------
    problems : list of Problem
        Notes that cannot be read.
    """

    def __init__(self, state: EnrolmentState):
        self._folder, self._table = state.folder, state.table
        self._notes: dict[str, tuple[FileStamp, Consent]] = {}
        self.problems: list[Problem] = []

    def get(self, subject: str) -> Consent:
        """A subject's note and expiry."""
        with self._table.lock:
            return self._notes.get(subject, (None, Consent()))[1]

    def set(self, subject: str, consent: Consent) -> None:
        """Store a subject's note and expiry; durable and in force on return.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        with self._table.lock:
            self._folder.set_consent(subject, consent)
            self.reread(subject)

    def expired(self, now: float | None = None) -> dict[str, float]:
        """The subjects whose consent has expired, and since when."""
        with self._table.lock:
            consents = [(name, consent) for name, (_, consent) in self._notes.items()]
            return {name: consent.ends for name, consent in consents if consent.ends is not None and consent.expired(now)}

    def next_expiry(self) -> float | None:
        """When somebody's consent expires next, in seconds since the epoch."""
        with self._table.lock:
            coming = [note.ends for _, note in self._notes.values() if note.ends is not None and not note.expired()]
            return min(coming, default=None)

    def is_current(self, subject: str) -> bool:
        """Whether the subject's note has not changed since it was read."""
        known = self._notes[subject][0] if subject in self._notes else None
        return known == self._folder.consent_stamp(subject)

    def reread(self, *subjects: str) -> None:
        """Read the notes of these subjects again."""
        stamps = {subject: stamp for subject, (stamp, _) in self._notes.items()}
        for subject in subjects:
            stamps.pop(subject, None)
            stamp = self._folder.consent_stamp(subject)
            if stamp is not None:
                stamps[subject] = stamp
        others = [each for each in self.problems if each.subject not in subjects]
        self.read(stamps)
        self.problems += others

    def read(self, stamps: Mapping[str, FileStamp]) -> None:
        """Read the notes that are new or have changed, and hide the subjects whose consent has expired.

        Parameters
        ----------
        stamps : mapping
            The stamp of each subject's note; a subject without one has no note.
        """
        with self._table.lock:
            notes: dict[str, tuple[FileStamp, Consent]] = {}
            problems: list[Problem] = []
            for subject, stamp in stamps.items():
                before = self._notes.get(subject)
                if before is not None and before[0] == stamp:
                    notes[subject] = before
                    continue
                try:
                    notes[subject] = stamp, self._folder.consent(subject)
                except StorageError as error:
                    problems.append(Problem(subject, f"{subject}/{CONSENT_FILE}", "consent_unreadable", error.message))
            self._notes, self.problems = notes, problems
            self._table.hide(subject for subject, (_, note) in notes.items() if note.expired())

    def forget(self, subject: str) -> None:
        """Forget the note of a subject who was erased."""
        self._notes.pop(subject, None)
        self._table.unhide(subject)
