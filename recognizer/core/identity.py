"""Ids that outlive names: a small file in the folder of a person or of a group, encrypted as photos are, erased with it.

Other services' clients know people and groups by ids, and store a few words beside them. The file moves with its folder, so
the id stays the same after a renaming and a restart, and for every server on the same folder.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recognizer.core.times import iso_time

#: Names of the files. They begin with a dot, so they are not taken for photos.
PERSON_FILE, GROUP_FILE = ".person.json", ".group.json"
#: What the encrypted files are for; see `vault`.
PERSON, GROUP = "person identity", "group identity"
#: Most bytes of such a file.
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Identity:
    """The id of a person or a group.

    Attributes
    ----------
    id : str
        A UUID in its usual form, 36 characters.
    made : str
        When it was made, ISO 8601 in UTC.
    data : dict
        What clients of other services stored, plain data by the name of the dialect.
    """

    id: str
    made: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def new(cls, data: Mapping[str, Any] | None = None) -> Identity:
        """A new, random id."""
        return cls(str(uuid.uuid4()), iso_time(time.time()), dict(data or {}))

    def with_data(self, **data: Any) -> Identity:
        """A copy in which these names have other data; None removes a name."""
        merged = {**self.data, **data}
        return replace(self, data={name: value for name, value in merged.items() if value is not None})

    def as_bytes(self) -> bytes:
        """The contents of the file, JSON."""
        return json.dumps({"id": self.id, "made": self.made, "data": dict(self.data)}, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Identity:
        """Parse a file that `as_bytes` wrote.

        Raises
        ------
        ValueError
        """
        stored = json.loads(data)
        if not isinstance(stored, dict):
            raise ValueError("expected an object")
        id_, made, kept = stored.get("id"), stored.get("made"), stored.get("data", {})
        if not isinstance(id_, str) or not isinstance(made, str) or not isinstance(kept, dict):
            raise ValueError("expected an id, a time and data")
        return cls(str(uuid.UUID(id_)), made, kept)
