"""Times as text: written and read in UTC, whatever the offset."""

from datetime import datetime, timezone

import pytest

from recognizer.core.times import iso_seconds, iso_time, parse_iso_time


def test_written_in_utc_with_milliseconds():
    assert iso_time(1795266000.125) == "2026-11-21T13:00:00.125Z"
    assert iso_time(1795266000.125, "seconds") == "2026-11-21T13:00:00Z"


def test_without_a_time_it_is_now():
    before = datetime.now(timezone.utc).timestamp()
    assert before - 0.001 <= iso_seconds(iso_time()) <= datetime.now(timezone.utc).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T13:00:00Z",
        "2026-11-21T13:00:00z",
        "2026-11-21T13:00:00+00:00",
        "2026-11-21T14:00:00+01:00",
        "2026-11-21T13:00:00",
        "2026-11-21 13:00:00.000Z",
    ],
)
def test_read_whatever_the_offset(text):
    assert iso_seconds(text) == 1795266000.0 and parse_iso_time(text).tzinfo is timezone.utc


@pytest.mark.parametrize("text", ["", "Z", "soon", "2026-13-01T00:00:00Z", "2026-11-21T25:00:00Z"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        iso_seconds(text)
