"""Events as a table for spreadsheets."""

from __future__ import annotations

import csv
import io

from recognizer.events.event_table import COLUMNS, as_csv


def test_a_row_has_the_event_s_fields_and_its_zones_as_one_text():
    events = [
        {"id": 1, "kind": "appeared", "camera": "door", "subject": "=cmd()", "zones": ["=Hall", "Steps"], "box": {"left": 1}},
        {"id": 2, "kind": "camera_lost", "camera": "door", "reason": "no answer"},
        {"id": 3, "kind": "left", "camera": "door", "subject": None, "zones": []},
    ]
    rows = list(csv.DictReader(io.StringIO(as_csv(events))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["zones"] for row in rows] == ["'=Hall; Steps", "", ""]
    assert rows[0]["subject"] == "'=cmd()" and rows[1]["reason"] == "no answer" and rows[2]["subject"] == ""
