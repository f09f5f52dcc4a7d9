"""When people were last seen and how often they came, as the stored events say."""

from recognizer.events.event_erasing import Retention
from recognizer.events.event_log import EventLog
from recognizer.events.last_seen import LastSeen, SeenPerson

from .e2e.homes import event


def times(log: EventLog, *events: dict) -> None:
    log.append(list(events))


def test_it_follows_new_events_renamings_and_erasures(tmp_path):
    log, seen = EventLog(tmp_path, Retention(10**6, 30)), LastSeen()
    assert seen.read(log) == {}
    first = {**event(subject="Ada"), "kind": "appeared", "time": "2026-11-20T10:00:00.000Z"}
    left = {**event(subject="Ada"), "kind": "left", "time": "2026-11-20T10:05:00.000Z"}
    times(log, first, left, {**first, "subject": None})
    assert seen.read(log) == {"Ada": SeenPerson("2026-11-20T10:05:00.000Z", 1)}
    times(log, {**first, "time": "2026-11-21T09:00:00.000Z"}, {**first, "subject": "Bob"})
    assert seen.read(log)["Ada"] == SeenPerson("2026-11-21T09:00:00.000Z", 2) and seen.read(log)["Bob"].visits == 1
    log.rename("Ada", "Ada L")
    assert set(seen.read(log)) == {"Ada L", "Bob"} and seen.read(log)["Ada L"].visits == 2
    log.erase("Ada L")
    assert set(seen.read(log)) == {"Bob"}
    log.close()


def test_a_log_that_another_process_writes_is_read_whole(tmp_path):
    writer, seen = EventLog(tmp_path, Retention(10**6, 30)), LastSeen()
    reader = EventLog(tmp_path, Retention(10**6, 30))
    assert writer.writable and not reader.writable
    writer.append([{**event(subject="Ada"), "kind": "appeared"}])
    assert seen.read(reader)["Ada"].visits == seen.read(reader)["Ada"].visits == 1
    reader.close()
    writer.close()
