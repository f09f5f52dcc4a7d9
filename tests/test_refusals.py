"""Refused keys in the audit log: told at once, counted, bounded."""

import threading

import pytest

from recognizer.access.refusals import ACTION, OTHERS, Refusals
from recognizer.core.audit import AuditLog
from recognizer.core.errors import InvalidKey, KeyExpired, KeyRequired, RateLimited

from .streams import wait_for

UNKNOWN, OVER = InvalidKey("this key is not known here"), KeyExpired("this key has expired")


@pytest.fixture
def audit(tmp_path) -> AuditLog:
    return AuditLog(tmp_path / "audit")


def told(audit: AuditLog) -> list[tuple[str, int]]:
    assert audit.verify().problems == [] and all(line["action"] == ACTION for line in audit.lines())
    return [(line["actor"], line["details"]["count"]) for line in audit.lines()]


def test_the_first_is_told_at_once_and_the_others_as_a_number(audit):
    refusals = Refusals(audit)
    for error in (UNKNOWN, UNKNOWN, OVER, UNKNOWN):
        refusals.note("address:192.0.2.1", error)
    refusals.note("address:192.0.2.2", OVER)
    assert told(audit) == [("address:192.0.2.1", 1), ("address:192.0.2.2", 1)]
    refusals.flush()
    assert told(audit)[2:] == [("address:192.0.2.1", 3)]
    assert [*audit.lines()][-1]["details"] == {"count": 3, "reasons": {UNKNOWN.code: 2, OVER.code: 1}}
    refusals.flush()
    assert len(told(audit)) == 3
    refusals.note("address:192.0.2.1", UNKNOWN)
    assert told(audit)[3:] == [("address:192.0.2.1", 1)]
    refusals.flush()


def test_a_minute_ends_by_itself(audit):
    refusals = Refusals(audit, seconds=0.2)
    refusals.note("local", UNKNOWN)
    refusals.note("local", UNKNOWN)
    wait_for(lambda: told(audit) == [("local", 1), ("local", 1)])


def test_from_many_addresses_the_lines_are_bounded(audit):
    refusals = Refusals(audit, most=5)
    for number in range(200):
        refusals.note(f"address:2001:db8:{number:x}::/64", UNKNOWN)
    refusals.flush()
    assert len(told(audit)) == 7 and told(audit)[5:] == [(OTHERS, 1), (OTHERS, 194)]


def test_nothing_is_lost_among_threads(audit):
    refusals = Refusals(audit)
    threads = [threading.Thread(target=lambda: [refusals.note("local", UNKNOWN) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refusals.flush()
    assert told(audit) == [("local", 1), ("local", 399)]


def test_other_refusals_are_none_of_a_key(audit):
    refusals = Refusals(audit)
    for error in (KeyRequired("expected a key"), RateLimited("too many", 1.0)):
        refusals.note("local", error)
    refusals.flush()
    assert told(audit) == []


def test_a_log_that_cannot_be_written_keeps_nobody_from_being_refused(tmp_path):
    (tmp_path / "file").write_text("")
    refusals = Refusals(AuditLog(tmp_path / "file" / "audit"))
    refusals.note("local", UNKNOWN)
    refusals.note("local", UNKNOWN)
    refusals.flush()
