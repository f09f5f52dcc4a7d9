"""Counted things in messages."""

import pytest

from recognizer.core.wording import plural


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [
        (0, ("face",), "0 faces"),
        (1, ("face",), "1 face"),
        (2, ("face",), "2 faces"),
        (1, ("person", "people"), "1 person"),
        (1200, ("person", "people"), "1,200 people"),
    ],
)
def test_one_is_singular(count, words, expected):
    assert plural(count, *words) == expected
