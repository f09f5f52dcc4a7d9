"""Events as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

#: The columns: fields of events; a field that an event lacks is empty.
COLUMNS = ("id", "time", "kind", "camera", "subject", "since", "seconds", "distance", "false_match_rate", "reason", "zones")


def cell(value: object) -> object:
    """A value as a cell: a list as one text. A text that a spreadsheet would compute begins with an apostrophe."""
    if isinstance(value, list):
        value = "; ".join(value)
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def as_csv(events: Iterable[dict]) -> str:
    """A table with a row for each event, in their order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(event.get(name)) for name in COLUMNS] for event in events)
    return out.getvalue()
