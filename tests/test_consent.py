"""Consent: notes and expiries, how they are read, joined and stored."""

import json

import pytest

from recognizer.core.consent import MAX_NOTE, Consent, normalised_expiry
from recognizer.core.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2027-12-31", "2027-12-31"),
        ("2027-12-31T18:00:00Z", "2027-12-31T18:00:00Z"),
        ("2027-12-31t18:00:00z", "2027-12-31T18:00:00Z"),
        ("2027-12-31T18:00", "2027-12-31T18:00:00Z"),
        ("2027-12-31T18:00:00.9+02:00", "2027-12-31T16:00:00Z"),
    ],
)
def test_an_expiry_is_stored_in_one_form(text, stored):
    assert normalised_expiry(text) == stored
    assert normalised_expiry(stored) == stored


@pytest.mark.parametrize("text", ["", "soon", "2027-13-01", "2027-02-30", "9999-12-31", "0001-01-01T00:00:00+10:00", "x" * 500])
def test_what_is_not_an_expiry_is_refused(text):
    with pytest.raises(InvalidParameter, match="^expires: expected a date such as") as caught:
        normalised_expiry(text)
    assert len(caught.value.message) < 200


def test_a_date_is_the_last_valid_day():
    consent = Consent(expires="1970-01-02")
    assert consent.ends == 2 * 86_400
    assert not consent.expired(2 * 86_400 - 1) and consent.expired(2 * 86_400)
    assert Consent(expires="1970-01-02T00:00:10Z").ends == 86_410
    assert Consent("note").ends is None and not Consent("note").expired()


def test_changing_and_removing():
    consent = Consent().changed("  signed  ", "2027-12-31")
    assert consent == Consent("signed", "2027-12-31") and consent
    assert consent.changed(note="other") == Consent("other", "2027-12-31")
    assert consent.changed(expires="none") == Consent("signed")
    assert not consent.changed("none", "")
    with pytest.raises(InvalidParameter, match=f"at most {MAX_NOTE} characters, got {MAX_NOTE + 1}"):
        consent.changed(note="x" * (MAX_NOTE + 1))


def test_joining_keeps_both_notes_and_the_earlier_expiry():
    one, other = Consent("a", "2027-12-31"), Consent("b", "2027-12-31T10:00:00Z")
    assert one.joined(other) == Consent("a\nb", "2027-12-31T10:00:00Z")
    assert one.joined(one) == one and one.joined(Consent()) == one
    assert len(Consent("x" * MAX_NOTE).joined(Consent("y" * MAX_NOTE)).note) == MAX_NOTE


def test_the_file():
    consent = Consent("Unterschrift für Müller", "2027-12-31")
    assert Consent.from_bytes(consent.as_bytes()) == consent
    assert json.loads(consent.as_bytes()) == {"consent": "Unterschrift für Müller", "expires": "2027-12-31"}
    assert Consent.from_bytes(b"{}") == Consent()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b'{"consent": 1}', b'{"expires": []}', b'{"expires": "soon"}', b"\xff", b'{"expires": NaN}'),
        *(b"[" * 50_000, b'{"a":[' + b"[]," * 1_000_000 + b"1]}", b'{"consent": "' + b"a" * 70_000 + b'"}'),
    ],
    ids=lambda data: str(data[:20]),
)
def test_a_damaged_file(data):
    with pytest.raises(ValueError):
        Consent.from_bytes(data)
