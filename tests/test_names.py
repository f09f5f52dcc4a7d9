"""Names of subjects: a table of good and bad ones, and what holds for all."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.core import names
from recognizer.core.errors import InvalidName


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("\u00a0\u3000", "empty"),
        (None, "got NoneType"),
        (b"Anna", "got bytes"),
        (3, "got int"),
        (".", "dot"),
        ("..", "dot"),
        (" .hidden", "dot"),
        (".part-1", "dot"),
        ("Anna.", "end with a dot"),
        ("Anna. ", "end with a dot"),
        ("a/b", "'/'"),
        ("../etc", "'/'"),
        ("a\\b", "must not contain"),
        ("c:anna", "':'"),
        ("a\0b", "must not contain"),
        ("a\nb", "U+000A"),
        ("a\tb", "U+0009"),
        ("a\x7fb", "U+007F"),
        ("a\x1b[31mb", "U+001B"),
        ("a\u202eb", "U+202E"),  # turns the direction of writing
        ("a\u2066b", "U+2066"),
        ("a\u200bb", "U+200B"),
        ("\ufeffAnna", "U+FEFF"),
        ("a\u2028b", "line breaks"),
        ("a\u2029b", "line breaks"),
        ("a\ud800b", "U+D800"),
        ("a\udcffb", "U+DCFF"),  # a byte of a file name that is no UTF-8
        ("a\ue000b", "U+E000"),
        ("a\U000e0001b", "U+E0001"),
        ("\u200d", "empty"),
        ("\u200c\u200d", "empty"),
        ("x" * 201, "200 bytes"),
        ("\u00e9" * 101, "200 bytes"),
        ("CON", "device"),
        ("nul", "device"),
        ("Lpt9", "device"),
        ("aux.txt", "device"),
        ("aux .txt", "device"),
        ("com1.tar.gz", "device"),
    ],
)
def test_names_that_cannot_be_used(name, message):
    with pytest.raises(InvalidName) as caught:
        names.normalise(name)
    assert message in str(caught.value)
    assert str(caught.value).isprintable() and str(caught.value.details).isascii()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Anna", "Anna"),
        ("  Anna  ", "Anna"),
        ("Anna   Lena", "Anna Lena"),
        ("Anna\u00a0Lena", "Anna Lena"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"),
        ("O'Brien-Smith, Jr", "O'Brien-Smith, Jr"),
        ("J. R. R. Tolkien", "J. R. R. Tolkien"),
        ("con artist", "con artist"),
        ("com10", "com10"),
        ("console", "console"),
        ("Ελένη", "Ελένη"),
        ("Анна Каренина", "Анна Каренина"),
        ("محمد", "محمد"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # the non-joiner is spelling in Persian
        ("李小龍", "李小龍"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("a*b?c", "a*b?c"),
        ("x" * 200, "x" * 200),
        ("\u00e9" * 100, "\u00e9" * 100),
    ],
)
def test_names_that_can_be_used_and_how_they_are_written(name, expected):
    assert names.normalise(name) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("anna", "Anna", True),
        ("STRASSE", "straße", True),
        ("Zoë", "Zoe\u0308", True),
        ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
        ("Anna", "Anne", False),
        ("Zoë", "Zoe", False),
        ("Anna", "An\u200dna", True),
        ("Anna", "Anna\u200c", True),
        ("Anna", "Аnna", False),  # the second begins with a Cyrillic letter
    ],
)
def test_which_names_some_file_systems_cannot_tell_apart(one, other, same):
    assert (names.comparison_key(one) == names.comparison_key(other)) is same


anything = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="aA .:/\\\u0308\u00eb\u200d\u00a0\u2028\u202eé", max_size=12),
)


def usable(name: str) -> bool:
    try:
        return bool(names.normalise(name))
    except InvalidName:
        return False


good = st.one_of(
    st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), min_size=1, max_size=30),
    st.text("aA .\u0308\u00eb\u200d\u00a0é", min_size=1, max_size=12).map(lambda text: f"a{text}b"),
).filter(usable)


@given(good)
def test_what_is_let_through_is_a_safe_name_of_a_folder(name):
    clean = names.normalise(name)
    assert clean == clean.strip() and clean
    assert not set(clean) & set("/\\:\0")
    assert not clean.startswith(".") and not clean.endswith(".")
    assert len(clean.encode()) <= names.MAX_BYTES
    assert unicodedata.is_normalized("NFC", clean)
    for character in clean:
        assert unicodedata.category(character)[0] != "C" or character in "\u200c\u200d"
        assert unicodedata.category(character) not in ("Zl", "Zp")
    assert "  " not in clean


@given(good)
def test_normalising_twice_is_normalising_once(name):
    clean = names.normalise(name)
    assert names.normalise(clean) == clean


@given(good)
def test_all_ways_to_write_a_name_are_one_name_with_one_key(name):
    clean = names.normalise(name)
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, clean)
        assert names.normalise(written) == clean
        assert names.comparison_key(written) == names.comparison_key(clean)
    assert names.comparison_key(names.comparison_key(clean)) == names.comparison_key(clean)
    assert names.comparison_key(clean.upper()) == names.comparison_key(clean.upper().lower())


@pytest.mark.slow
@given(anything)
def test_only_invalid_name_is_ever_raised(name):
    try:
        names.normalise(name)
    except InvalidName as error:
        assert error.message
