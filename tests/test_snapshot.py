"""The copy of a node's templates in its state folder: what it saves, when it may be used, and that nobody comes back."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

from recognizer.access.access_file import ApiKey
from recognizer.access.access_tables import AccessTables
from recognizer.core.consent import Consent
from recognizer.core.errors import DatabaseAway, StorageError
from recognizer.core.holdings import Whose
from recognizer.core.times import iso_time
from recognizer.core.vault import Vault, new_key
from recognizer.database.local_copy import LocalCopy
from recognizer.database.shared_state import SharedAdjustments
from recognizer.enrolment.encodings import photo_id
from recognizer.galleries.postgres import snapshot as snapshot_module
from recognizer.galleries.postgres.snapshot import GroupRow, Snapshot, SnapshotRows, SnapshotState, SnapshotSubject
from recognizer.service.node_work import NodeWork
from recognizer.service.snapshots import SnapshotKeeper
from recognizer.service.subject_holdings import SnapshotHolding

from .nodes import DIM, DOWN, ENGINE, LEFT, UP, Node, encoding, group, templates
from .streams import wait_for

pytestmark = pytest.mark.network


@pytest.fixture(params=["plain", "sealed"])
def start(request, database_url, tmp_path, monkeypatch):
    """Starts a node with a snapshot in a folder of its own, by its name."""
    monkeypatch.setattr("recognizer.galleries.postgres.template_copy.PER_FILE", 2)
    vault = Vault([new_key()]) if request.param == "sealed" else None
    (tmp_path / "photos").mkdir()
    made = []

    def start(name: str) -> Node:
        node = Node(database_url, tmp_path / "photos", name, vault, snapshot=tmp_path / name)
        made.append(node)
        return node

    start.vault = vault
    yield start
    for each in made:
        each.enrolment.close()
        each.snapshot.disown()


def loads(caplog, monkeypatch) -> list[str]:
    """Grows by one at each time that everything is read from the database."""
    from recognizer.galleries.postgres.template_rows import TemplateRows

    counted, real = [], TemplateRows.all
    monkeypatch.setattr(TemplateRows, "all", lambda self, connection: counted.append("all") or real(self, connection))
    return counted


def stop(node: Node) -> None:
    node.enrolment.close()
    node.snapshot.disown()


def everything(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_node_starts_from_its_snapshot_and_reads_the_changes_since(start, monkeypatch, caplog, tmp_path):
    one = start("one")
    for number, name in enumerate(["Ann", "Bob", "Cid", "Dan", "Eve"]):
        one.enrol(name, name.encode(), [1, number, 0, 0])
    assert one.enrolment.save() and one.gallery.copy.unsaved == 0
    assert len(one.snapshot.keys()) >= 2
    stop(one)
    other = start("other")
    other.enrolment.rename("Bob", "Robert")
    other.enrolment.rename("Cid", "Bob")  # a name changes hands
    other.enrolment.rename("Dan", "Robert", merge=True)
    other.enrolment.remove_subject("Eve")
    other.enrol("Fay", b"Fay", DOWN)
    read = loads(caplog, monkeypatch)
    one = start("one")
    assert read == [] and one.memory() == other.memory() and sorted(one.gallery.subjects()) == ["Ann", "Bob", "Fay", "Robert"]
    assert one.enrolment.save()
    stop(one)
    one = start("one")
    assert read == [] and one.memory() == other.memory()
    if start.vault is not None:
        assert b"Robert" not in everything(tmp_path / "one")


def test_groups_are_in_the_snapshot(start, monkeypatch, caplog, tmp_path):
    one = start("one")
    staff = group(one, "staff")
    for number, name in enumerate(["Ann", "Bob", "Cid"]):
        one.enrol(name, name.encode(), [1, number, 0, 0])
        staff.add(name, b"staff", "jpg", encoding(b"staff", [1, 0, number, 0]))
    held = templates(staff), one.memory()
    assert one.enrolment.save() and one.gallery.copy.unsaved == 0
    stop(one)
    other = start("other")
    group(other, "staff").rename("Bob", "Robert")
    group(other, "guests").add("Dan", b"Dan", "jpg", encoding(b"Dan", DOWN))
    other.enrolment.remove_subject("Ann")  # not the one of the group
    read = loads(caplog, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(Node, "sync", lambda node: None)
        alone = start("one")  # as while the database is away
        assert alone.gallery.copy.start_from_snapshot(24.0) is not None
        assert (dict.fromkeys(name for name, _ in held[0]), held[1]) == (
            dict.fromkeys(alone.gallery.of_group(staff.group).subjects()),
            {(n, t.photo): t.embedding.vector.tolist() for n in alone.gallery.subjects() for t in alone.gallery.templates(n)},
        )
        assert {each.name for each in alone.gallery.copy.groups.values()} == {"default", "staff"}
        stop(alone)
    one = start("one")
    assert templates(group(one, "staff")) == templates(group(other, "staff")) and one.memory() == other.memory() and not read
    assert list(group(one, "guests").gallery.subjects()) == ["Dan"]
    gone = Whose("Robert", (photo_id(b"staff"),))
    holding = SnapshotHolding(group(one, "staff"))
    assert one.enrolment.save() and holding.find(gone) == 0
    one.enrolment.of_group(staff.group, "staff").remove_subject("Robert")
    assert holding.find(gone) == 1 and SnapshotHolding(one.enrolment).find(Whose("Robert")) == 0
    holding.erase(gone)
    assert holding.verify(gone) == {"templates": 0} and b"Robert" not in everything(tmp_path / "one")


def test_the_same_change_twice_is_no_difference(start, monkeypatch, caplog):
    """Files may be newer than the list, if the node was killed between the two."""
    one = start("one")
    one.enrol("Ann", b"first", UP)
    one.enrolment.save()
    with monkeypatch.context() as patched:
        patched.setattr(Snapshot, "write_state", lambda self, state: None)
        one.enrol("Ann", b"second", DOWN)
        one.enrolment.rename("Ann", "Anna")
        one.enrol("Bob", b"third", LEFT)
        one.enrolment.save()
    stop(one)
    read, again = loads(caplog, monkeypatch), start("one")
    assert read == [] and {name for name, _ in again.memory()} == {"Anna", "Bob"} and len(again.memory()) == 3


def test_it_is_used_without_the_database_for_some_hours(start, monkeypatch):
    one = start("one")
    one.enrol("Ann", b"first", UP)
    one.enrolment.save()
    stop(one)
    monkeypatch.setattr(Node, "sync", lambda node: None)
    again = start("one")
    assert again.gallery.copy.start_from_snapshot(0.0) is None and len(again.gallery) == 0
    with monkeypatch.context() as patched:
        patched.setattr(snapshot_module.time, "time", lambda now=time.time: now() + 3600 * 25)
        assert again.gallery.copy.start_from_snapshot(24.0) is None
    state = again.gallery.copy.start_from_snapshot(24.0)
    assert state.seq == again.gallery.copy.applied > 0 and list(again.gallery.subjects()) == ["Ann"]


def test_whose_consent_ended_since_is_not_named(start, monkeypatch, tmp_path):
    one = start("one")
    one.enrol("Ann", b"first", UP)
    one.enrol("Bob", b"second", DOWN)
    one.enrolment.set_consent("Ann", Consent("yes", iso_time(time.time() + 3600)))
    one.enrolment.save()
    stop(one)
    monkeypatch.setattr(Node, "sync", lambda node: None)
    again = start("one")
    monkeypatch.setattr("recognizer.galleries.postgres.template_copy.time.time", lambda now=time.time: now() + 7200)
    assert again.gallery.copy.start_from_snapshot(24.0) and list(again.gallery.subjects()) == ["Bob"]


def test_a_snapshot_of_another_database_or_a_damaged_one_is_replaced(start, monkeypatch, caplog, tmp_path):
    one = start("one")
    one.enrol("Ann", b"first", UP)
    one.enrolment.save()
    stop(one)
    read = loads(caplog, monkeypatch)
    with one.database.connect() as connection:  # restored from an older copy, and changed since
        connection.execute("update change set at = at + interval '1 day'")
    one = start("one")
    assert read == ["all"] and one.snapshot.keys() == []
    one.enrolment.save()
    stop(one)
    file = next((tmp_path / "one").glob("*.rows"))
    file.write_bytes(file.read_bytes()[:-3])
    assert list(start("one").gallery.subjects()) == ["Ann"] and read == ["all", "all"]


def test_changes_that_were_pruned_since_are_not_missed(start, monkeypatch, caplog):
    one = start("one")
    one.enrol("Ann", b"first", UP)
    one.enrolment.save()
    stop(one)
    other = start("other")
    other.enrol("Bob", b"second", DOWN)
    assert other.gallery.copy.prune(0.0) > 0
    other.enrol("Cid", b"third", LEFT)
    read = loads(caplog, monkeypatch)
    assert sorted(start("one").gallery.subjects()) == ["Ann", "Bob", "Cid"] and read == ["all"]


def test_a_database_in_which_nothing_changes_keeps_its_snapshots(start, monkeypatch, caplog):
    one = start("one")
    one.enrol("Ann", b"first", UP)
    one.enrol("Bob", b"second", DOWN)
    assert one.gallery.copy.prune(0.0) > 0 and one.gallery.copy.prune(0.0) == 0  # the newest change stays
    assert one.enrolment.save() and one.snapshot.state().seq == one.gallery.copy.applied
    stop(one)
    read = loads(caplog, monkeypatch)
    assert sorted(start("one").gallery.subjects()) == ["Ann", "Bob"] and read == []


# --- erasing ---------------------------------------------------------------------------------------------------------


def test_an_erasure_reaches_the_snapshots_of_all_nodes(start, tmp_path):
    one, two = start("one"), start("two")
    holding = SnapshotHolding(one.enrolment)
    entry, _ = one.enrol("Ann", b"first", UP)
    second, _ = one.enrol("Ann", b"second", DOWN)
    one.enrol("Bob", b"third", LEFT)
    two.enrolment.catch_up()
    assert one.enrolment.save() and two.enrolment.save()
    plain = start.vault is None
    assert (b"Ann" in everything(tmp_path / "one")) == (b"Ann" in everything(tmp_path / "two")) == plain

    one.enrolment.rename("Ann", "Anna")
    assert holding.verify(Whose("Ann")) == {"templates": 2}
    holding.rename("Ann", "Anna")
    assert b'"Ann"' not in everything(tmp_path / "one") and holding.verify(Whose("Ann")) == {"templates": 0}

    one.enrolment.remove_photo("Anna", second.photo)
    gone = Whose("", (second.photo,))
    assert holding.find(gone) == 1 and holding.verify(gone) == {"templates": 1}
    holding.erase(gone)
    assert holding.verify(gone) == {"templates": 0}

    one.enrolment.remove_subject("Anna")
    gone = Whose("Anna", (entry.photo,))
    assert holding.verify(gone) == {"templates": 1}
    holding.erase(gone)
    assert holding.verify(gone) == {"templates": 0} and list(holding.export(gone)) == []

    work = NodeWork(two.enrolment, lambda of: [SnapshotHolding(of)], DIM)
    two.enrolment.catch_up()
    assert work.run() == 3
    for name in ("one", "two"):
        kept = everything(tmp_path / name)
        assert b"Ann" not in kept and entry.photo.encode() not in kept and np.float32(UP).tobytes() not in kept
        assert (b"Bob" in kept) == plain


def test_who_was_erased_while_a_node_was_off_does_not_come_back(start, tmp_path):
    one, two = start("one"), start("two")
    one.enrol("Ann", b"first", UP)
    one.enrol("Bob", b"second", DOWN)
    two.enrolment.catch_up()
    two.enrolment.save()
    stop(two)
    one.enrolment.remove_subject("Ann")
    two = start("two")
    assert two.nearest(UP) == ["Bob"]
    assert NodeWork(two.enrolment, lambda of: [SnapshotHolding(of)], DIM).run() == 1
    assert b"Ann" not in everything(tmp_path / "two") and two.snapshot.state() is not None


def test_what_cannot_be_stored_is_tried_again(start, monkeypatch):
    one = start("one")
    one.enrol("Ann", b"first", UP)
    one.enrolment.save()
    one.enrolment.remove_subject("Ann")
    with monkeypatch.context() as patched:

        def full(self, key, rows):
            raise StorageError("the disk is full")

        patched.setattr(Snapshot, "put", full)
        with pytest.raises(StorageError):
            one.enrolment.save()
        assert one.gallery.copy.unsaved == 1 and one.gallery.copy.stale(0, "Ann", ()) == 1
    assert one.enrolment.save() and one.gallery.copy.stale(0, "Ann", ()) == 0 and one.snapshot.keys() == []


# --- writing ---------------------------------------------------------------------------------------------------------


def test_one_process_writes_at_a_time(start, tmp_path):
    one = start("one")
    one.enrol("Ann", b"first", UP)
    second = Snapshot(tmp_path / "one", ENGINE, DIM, start.vault)
    assert one.enrolment.save() and not second.own()
    one.snapshot.disown()
    assert second.own() and not one.enrolment.save()
    second.disown()


def test_a_thread_saves_what_changed(start, monkeypatch, caplog):
    monkeypatch.setattr("recognizer.service.snapshots.SAVE_SECONDS", 0.02)
    one = start("one")
    keeper = SnapshotKeeper(one.enrolment)
    one.enrol("Ann", b"first", UP)
    wait_for(lambda: (state := one.snapshot.state()) is not None and state.seq == one.gallery.copy.applied)
    monkeypatch.setattr("recognizer.service.snapshots.SAVE_SECONDS", 3600.0)
    keeper.close()
    one.enrol("Bob", b"second", DOWN)
    keeper.close()  # what little changed is saved at the end
    assert one.gallery.copy.unsaved == 0
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(Snapshot, "put", lambda *_: (_ for _ in ()).throw(StorageError("the disk is full")))
        one.enrol("Cid", b"third", LEFT)
        keeper.close()
    assert "the snapshot is not current: the disk is full" in caplog.text


def test_files_of_another_engine_are_no_snapshot(tmp_path):
    made = Snapshot(tmp_path, ENGINE, DIM)
    assert made.state() is None and made.own()
    made.put(3, SnapshotRows([SnapshotSubject(7, 0, "Ann", None, 1)], ["p"], np.array([UP], np.float32)))
    state = SnapshotState(5, "when", 1.0, [(0, "p")], [GroupRow(0, "default", None), GroupRow(3, "staff", b"about")])
    made.write_state(state)
    assert made.state() == state and made.get(3).photos == ["p"]
    assert Snapshot(tmp_path, "other/1", DIM).state() is None
    made.disown()
    snapshot_module.remove_snapshot(tmp_path)
    assert made.keys() == [] and made.state() is None


# --- keys and settings -----------------------------------------------------------------------------------------------


def test_keys_and_settings_are_known_to_a_node_that_starts_alone(start, tmp_path, monkeypatch):
    one = start("one")
    keys = LocalCopy(tmp_path / "keys", lambda: start.vault, 24.0)
    changed = LocalCopy(tmp_path / "settings", lambda: start.vault, 24.0)
    tables = AccessTables(one.database, keys)
    tables.add_key(ApiKey("k1", "door", "read", "hash-of-the-key", 1.0))
    SharedAdjustments(one.database, ["stranger_rate"], changed).set("stranger_rate", 0.05)
    assert (b"hash-of-the-key" in (tmp_path / "keys").read_bytes()) == (start.vault is None)

    def away(*_, **__):
        raise DatabaseAway("away")

    monkeypatch.setattr(one.database, "rows", away)
    again = AccessTables(one.database, keys)
    assert [key.name for key in again.held().keys.values()] == ["door"] and again.had_keys
    with pytest.raises(DatabaseAway):
        again.held(fresh=True)
    assert SharedAdjustments(one.database, ["stranger_rate"], changed).get("stranger_rate") == 0.05
    for none in (
        None,
        LocalCopy(tmp_path / "none", lambda: None, 24.0),
        LocalCopy(tmp_path / "keys", lambda: start.vault, 0.0),
    ):
        with pytest.raises(DatabaseAway):  # without the keys it would answer everybody
            AccessTables(one.database, none).held()
    (tmp_path / "keys").write_bytes(b"{")
    with pytest.raises(DatabaseAway):
        AccessTables(one.database, keys).held()
