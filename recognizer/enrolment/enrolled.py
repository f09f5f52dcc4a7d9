"""Results about enrolled people, as values; `http.replies` turns them into plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recognizer.core.consent import Consent
from recognizer.core.particulars import Particulars
from recognizer.enrolment.encodings import Encoding


@dataclass(frozen=True, slots=True)
class EnrolledPhoto:
    """An enrolled photo: `new` is False if it was enrolled before. `warnings` say what is suspicious."""

    subject: str
    encoding: Encoding
    new: bool
    warnings: tuple[dict[str, Any], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class PersonPhoto:
    """One file of a subject's folder. Its encoding's `problem` says why it is not used, `warnings` what is suspicious."""

    id: str | None
    file: str
    bytes: int
    encoding: Encoding
    warnings: tuple[dict[str, Any], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Person:
    """A subject with its photos; `templates` counts those that are in use while the consent has not expired."""

    name: str
    templates: int
    photos: tuple[PersonPhoto, ...]
    consent: Consent = Consent()
    particulars: Particulars = field(default_factory=Particulars)
