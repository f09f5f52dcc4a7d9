"""What nodes share, on a real PostgreSQL: the lock, the order of changes, keys, settings, the audit log, people and photos."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.access.access_tables import AccessTables
from recognizer.access.keys import Keys
from recognizer.access.sessions import Sessions
from recognizer.access.signing_table import SigningTable
from recognizer.core.consent import Consent
from recognizer.core.errors import (
    DatabaseAway,
    EngineMismatch,
    GroupNotFound,
    InvalidKey,
    KeyMissing,
    NameTaken,
    PhotoNotFound,
    SettingsError,
    StorageError,
    SubjectNotFound,
)
from recognizer.core.identity import Identity
from recognizer.core.vault import Vault, new_key
from recognizer.database import nodes, schema
from recognizer.database.audit_table import AuditTable
from recognizer.database.connection import Database
from recognizer.database.shared_state import DatabaseLock, SharedAdjustments
from recognizer.enrolment.cache import Encoding, photo_id
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.examination import Examined
from recognizer.enrolment.identities import SharedIdentities
from recognizer.enrolment.photo_store import FolderPhotos, StoredPhotos
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.galleries.postgres.feed import Feed
from recognizer.galleries.postgres.gallery import PostgresGallery
from recognizer.galleries.postgres.snapshot import Snapshot
from recognizer.service.node_work import NodeWork

pytestmark = pytest.mark.network
ENGINE, DIM = "test/1", 4


@pytest.fixture
def database(database_url):
    with closing(Database(database_url)) as made:
        yield made


@pytest.fixture
def other(database_url):
    """The connections of another node."""
    with closing(Database(database_url)) as made:
        yield made


# --- connections -----------------------------------------------------------------------------------------------------


def test_one_node_writes_at_a_time(database, other):
    order = []

    def write():
        with DatabaseLock(other).hold():
            order.append("second")

    with DatabaseLock(database).hold(), DatabaseLock(database).hold():  # a thread may take it again
        thread = threading.Thread(target=write)
        thread.start()
        while not other_waits(database):
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def other_waits(database) -> bool:
    with database.connect() as connection:
        return bool(connection.execute("select 1 from pg_locks where locktype = 'advisory' and not granted").fetchone())


def test_a_change_is_seen_after_those_with_lower_numbers(database, other):
    """Without the lock of `write`, the second transaction could be committed before the first, and a reader would skip it."""
    seen = []

    def second():
        with other.write() as changes:
            changes.note("subject", 2)
            seen.append(changes.seq)

    with database.write() as changes:
        changes.note("subject", 1)
        thread = threading.Thread(target=second)
        thread.start()
        while not other_waits(database):
            time.sleep(0.01)
        assert not seen
        seen.append(changes.seq)
    thread.join()
    assert seen == sorted(seen) and len(seen) == 2
    assert database.latest_change() == seen[0] and other.latest_change() == 0  # each thread knows its own


def test_what_failed_leaves_nothing(database):
    with pytest.raises(RuntimeError), database.write() as changes:
        changes.note("subject", 1)
        raise RuntimeError
    assert database.rows("select count(*) from change") == [(0,)] and database.latest_change() == 0


def unasked(database):
    """From now on, asking the database for a connection is an error; what asked it before."""

    def refuse(*_):
        raise AssertionError("the database was asked")

    asks, database._pool.connection = database._pool.connection, refuse
    return asks


def test_a_database_that_is_not_there_is_away_and_not_asked_again_at_once():
    with closing(Database("postgresql://127.0.0.1:1/none", patience=0.3)) as database:
        with pytest.raises(DatabaseAway):
            database.rows("select 1")
        assert database.away_since is not None
        database._failed = time.monotonic() + 3600  # whatever the machine is busy with, that was a moment ago
        unasked(database)
        with pytest.raises(DatabaseAway):
            database.rows("select 1")
        with pytest.raises(DatabaseAway), database.hold():
            raise AssertionError("it was held")


def test_where_a_thread_follows_the_database_nobody_else_waits_for_it(cluster):
    with closing(Database(cluster.make_database(), patience=5)) as database:
        came_back = threading.Event()
        feed = Feed(database, came_back.set)
        try:
            assert came_back.wait(30)
            database.note_away()  # what a failure does; the feed's own connection is as it was
            ask = unasked(database)
            with pytest.raises(DatabaseAway):
                database.rows("select 1")
            database._pool.connection = ask
            came_back.clear()
            with database.connect() as killer:
                killer.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and "
                    "datname = current_database()"
                )
            assert came_back.wait(30)  # it reads changes again, and nobody woke it
            assert database.rows("select 1") == [(1,)] and feed.alive
        finally:
            feed.close()
        assert not feed.alive


def test_a_connection_that_was_ended_is_replaced(database):
    (pid,) = database.rows("select pg_backend_pid()")[0]
    with database.connect() as killer:
        killer.execute("select pg_terminate_backend(%s)", [pid])
    assert database.rows("select 1") == [(1,)]


def test_a_wrong_statement_is_no_absence(database):
    with pytest.raises(StorageError, match="nowhere"):
        database.rows("select * from nowhere")
    assert database.away_since is None


@pytest.mark.parametrize("url", ["nonsense", "host=1 bad", "postgresql://host/name?nonsense=1"])
def test_a_url_that_is_none(url):
    with pytest.raises(SettingsError, match="database_url") as error:
        Database(url)
    assert url not in error.value.message


# --- tables ----------------------------------------------------------------------------------------------------------


def test_tables_are_made_once(cluster, database):
    assert schema.version(database) == schema.NEWEST
    assert schema.migrate(database) == (schema.NEWEST, schema.NEWEST)
    schema.require_current(database)


def test_the_newest_migration_is_the_last_file():
    files = sorted((schema._MIGRATIONS / "versions").glob("v*.py"))
    assert files[-1].name.startswith(f"v{schema.NEWEST}_")


@pytest.mark.parametrize(("found", "message"), [(None, "init"), ("0000", "migrate"), ("9999", "update it")])
def test_tables_of_another_version_are_refused(database, found, message):
    with database.transaction() as connection:
        if found is None:
            connection.execute("drop table alembic_version")
        else:
            connection.execute("update alembic_version set version_num = %s", [found])
    with pytest.raises(SettingsError, match=message):
        schema.require_current(database)


def test_all_nodes_have_one_engine_and_one_key(database):
    vault = Vault([new_key()])
    schema.join(database, ENGINE, DIM, None)
    schema.join(database, ENGINE, DIM, None)
    for engine, dim in (("other", DIM), (ENGINE, 8)):
        with pytest.raises(EngineMismatch):
            schema.join(database, engine, dim, None)
    with pytest.raises(SettingsError, match="not encrypted"):
        schema.join(database, ENGINE, DIM, vault)


def test_a_node_without_the_key_is_refused(database):
    vault = Vault([new_key()])
    schema.join(database, ENGINE, DIM, vault)
    schema.join(database, ENGINE, DIM, vault)
    for without in (None, Vault([new_key()])):
        with pytest.raises(SettingsError, match="lacks"):
            schema.join(database, ENGINE, DIM, without)


def test_a_node_keeps_its_id(tmp_path, database):
    node = nodes.own_id(tmp_path)
    assert nodes.own_id(tmp_path) == node
    nodes.report(database, node, 3)
    nodes.report(database, node, 7)
    (found,) = nodes.everyone(database)
    assert (found.id, found.applied, found.work) == (node, 7, 0) and abs(time.time() - found.seen) < 60
    assert nodes.forget(database, node) and not nodes.forget(database, node)


# --- keys, sessions, settings ----------------------------------------------------------------------------------------


def test_keys_and_sessions_of_one_node_are_those_of_the_other(database, other):
    here, there = AccessTables(database), AccessTables(other)
    assert not Keys(there).required()
    key, text = Keys(here).add("door", "read", time.time() + 100)
    keys = Keys(there)
    assert keys.check(text) == key and keys.required()
    token, expires = Sessions(here, Keys(here), 60).begin(key)
    assert Sessions(there, keys, 60).find(token) == (key, expires)
    Sessions(here, Keys(here), 60).end(token)
    second, _ = Sessions(there, keys, 60).begin(key)
    Keys(here).revoke(key.id)
    there.held(fresh=True)
    assert Sessions(there, keys, 60).find(second) is None and Sessions(there, keys, 60).find(token) is None
    with pytest.raises(InvalidKey, match="revoked"):
        keys.check(text)
    assert keys.required()  # revoking the last key opens nothing


def test_keys_that_were_never_read_open_nothing():
    with closing(Database("postgresql://127.0.0.1:1/none", patience=0.2)) as database, pytest.raises(DatabaseAway):
        Keys(AccessTables(database)).required()


def test_changed_settings_are_those_of_all(database, other):
    here, there = SharedAdjustments(database, ["stranger_rate"]), SharedAdjustments(other, ["stranger_rate"])
    assert here.get("stranger_rate") is None
    here.set("stranger_rate", 0.05)
    assert here.get("stranger_rate") == there.get("stranger_rate") == 0.05
    here.set("stranger_rate", None)
    assert here.get("stranger_rate") is None


# --- the audit log ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [False, True])
def test_all_nodes_append_to_one_chain(database, other, sealed):
    vault = Vault([new_key()]) if sealed else None
    logs = [AuditTable(database, vault), AuditTable(other, vault)]

    def append(log, name):
        for _ in range(10):
            log.append("enroll", name)

    threads = [threading.Thread(target=append, args=each) for each in zip(logs, ("Ann", "Bob"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = logs[0].verify()
    assert (found.lines, found.first, found.last, found.problems) == (20, 1, 20, [])
    assert logs[1].head() == {"seq": 20, "hash": found.hash}
    assert [line["seq"] for line in logs[1].about("Ann")] == [
        line["seq"] for line in logs[0].page(0, 99, lambda x: x["name"] == "Ann")
    ]
    assert len(logs[1].about("Ann")) == 10
    assert [line["seq"] for line in logs[1].page(None, 3)] == [18, 19, 20]
    assert [line["seq"] for line in logs[1].page(None, 2, before=10)] == [8, 9]
    stored = str(database.rows("select name from audit_name"))
    assert ("Ann" in stored) is not sealed
    logs[0].rename("Ann", "Anna")
    assert set(logs[1].names().values()) == {"Anna", "Bob"}
    logs[1].rename("Anna", "Bob", merge=True)
    logs[0].erase_photo("Bob", last=False)
    logs[0].forget("Bob")
    assert logs[1].names() == {} and len(logs[1].about("Bob")) == 0
    assert logs[0].verify().problems == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "update audit_line set line = replace(encode(line, 'escape'), 'enroll', 'delete')::bytea where seq = 2",
            "was changed",
        ),
        ("delete from audit_line where seq = 2", "missing, added or reordered"),
        ("delete from audit_line where seq = 1", "older lines are missing"),
    ],
)
def test_a_line_that_was_changed_is_found(database, statement, problem):
    log = AuditTable(database)
    for _ in range(3):
        log.append("enroll", "Ann")
    with database.transaction() as connection:
        connection.execute(statement)
    assert any(problem in each for each in log.verify().problems)


def test_a_line_that_fails_leaves_no_gap(database):
    log = AuditTable(database)
    with pytest.raises(RuntimeError), log.exclusive():
        log.append("enroll", "Ann")
        raise RuntimeError
    log.append("enroll", "Ann")
    assert log.verify().last == 1


# --- people ----------------------------------------------------------------------------------------------------------


def encoding(data: bytes, vector, left: float = 10) -> Examined:
    made = Encoding(
        photo_id(data), ENGINE, "only", np.array(vector, np.float32), None, None, (left, 10, left + 50, 60), 0.9, 100, 100
    )
    return Examined(made, b"thumbnail of " + data)


class Node:
    """The enrolment of a node, without an engine."""

    def __init__(self, url: str, photos, name: str, vault: Vault | None = None, snapshot=None):
        self.database = Database(url)
        self.gallery = PostgresGallery(self.database, ENGINE, DIM, vault)
        if snapshot is not None:
            self.snapshot = Snapshot(snapshot, ENGINE, DIM, vault)
            self.gallery.copy.keep_snapshot(self.snapshot)
        calibration = SimpleNamespace(threshold=1.0)
        engine = SimpleNamespace(info=SimpleNamespace(id=ENGINE, dim=DIM, calibration=calibration))
        schema.join(self.database, ENGINE, DIM, vault)
        nodes.report(self.database, name, 0)
        store = None if photos is None else FolderPhotos(photos)
        self.enrolment = SharedEnrolment(
            self.database, self.gallery, StoredPhotos(store, vault), SimpleNamespace(engine=engine), vault, name
        )
        self.sync()

    def sync(self):
        self.enrolment.sync()

    def enrol(self, name: str, data: bytes, vector, left: float = 10):
        return self.enrolment.add(name, data, "jpg", encoding(data, vector, left))

    def nearest(self, vector) -> list[str]:
        self.enrolment.catch_up()
        return [each.subject for each in self.gallery.search(np.array([vector], np.float32), 9)[0]]

    def memory(self) -> dict:
        self.enrolment.catch_up()
        names = sorted(self.gallery.subjects())
        return {(name, each.photo): each.embedding.vector.tolist() for name in names for each in self.gallery.templates(name)}


@pytest.fixture(params=["plain", "sealed"])
def pair(request, database_url, tmp_path):
    """Two nodes; photos and templates are encrypted or not."""
    vault = Vault([new_key()]) if request.param == "sealed" else None
    (tmp_path / "photos").mkdir()
    found = [Node(database_url, tmp_path / "photos", name, vault) for name in ("one", "two")]
    yield found
    for each in found:
        each.enrolment.close()


UP, DOWN, LEFT = (1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0)


def test_the_enrolment_of_one_node_is_that_of_the_other(pair, tmp_path, request):
    one, two = pair
    entry, new = one.enrol("Ann", b"first", UP)
    again, new_again = one.enrol("Ann", b"first", UP)
    assert new and not new_again and (again.path, again.stamp) == (entry.path, entry.stamp)
    assert two.nearest(UP) == ["Ann"] and one.memory() == two.memory() == {("Ann", entry.photo): list(UP)}
    (found,) = two.enrolment.entries("Ann")
    assert found.path == entry.path == f"Ann/{entry.photo}.jpg" and found.stamp == entry.stamp
    assert found.encoding.box == (10, 10, 60, 60) and found.encoding.vector.tolist() == list(UP)
    assert two.enrolment.read(found.path, 100) == b"first" and two.enrolment.thumbnail(entry.photo) == b"thumbnail of first"
    stored = next((tmp_path / "photos").rglob(entry.photo)).read_bytes()
    rows = str(one.database.rows("select t.v::text, t.sealed, p.thumbnail from template t join photo p using (subject, photo)"))
    if "sealed" in request.node.name:
        assert b"first" not in stored and "[1,0,0,0]" not in rows and "thumbnail of" not in rows
    else:
        assert stored == b"first" and "[1,0,0,0]" in rows
    assert two.enrolment.is_enrolled("Ann") and not two.enrolment.is_enrolled("Bob")
    assert two.enrolment.left_of("Ann", [entry.photo]) == {"files": 1, "templates": 2, "cache_rows": 0}


def test_an_erased_person_is_gone_everywhere(pair, tmp_path):
    one, two = pair
    one.enrol("Ann", b"first", UP)
    one.enrol("Bob", b"first", UP)  # the same photo of somebody else
    photos = two.enrolment.remove_subject("Ann")
    assert one.nearest(UP) == ["Bob"] and two.nearest(UP) == ["Bob"]
    assert two.enrolment.read(f"Bob/{photos[0]}.jpg", 100) == b"first"
    assert one.enrolment.left_of("Ann", photos) == {"files": 0, "templates": 0, "cache_rows": 0}
    ((number, work),) = one.enrolment.work()
    assert work["erase"] == "Ann" and work["photos"] == photos and two.enrolment.work() == []
    one.enrolment.work_done(number)
    assert one.enrolment.work() == []
    one.enrolment.remove_subject("Bob")
    assert not [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
    with pytest.raises(SubjectNotFound):
        two.enrolment.remove_subject("Bob")
    for (table,) in one.database.rows(
        "select tablename from pg_tables where schemaname = 'public' and tablename <> 'node_work'"
    ):
        assert "Ann" not in str(one.database.rows(f"select t::text from {table} t")), table


def test_renaming_and_merging(pair):
    one, two = pair
    one.enrol("Ann", b"first", UP)
    two.enrol("Bob", b"second", DOWN)
    one.enrolment.rename("Ann", "Anna")
    assert two.nearest(UP) == ["Anna", "Bob"] and not two.enrolment.is_enrolled("Ann")
    for new in ("Bob", "BOB"):
        with pytest.raises(NameTaken):
            two.enrolment.rename("Anna", new)
    with pytest.raises(NameTaken):
        one.enrol("bob", b"third", LEFT)
    two.enrolment.set_consent("Bob", Consent("said yes", None))
    one.enrolment.set_consent("Anna", Consent("too", "2999-01-01"))
    one.enrolment.rename("Anna", "Bob", merge=True)
    assert one.memory() == two.memory() == {("Bob", photo_id(b"first")): list(UP), ("Bob", photo_id(b"second")): list(DOWN)}
    assert two.enrolment.consent("Bob") == Consent("said yes\ntoo", "2999-01-01")
    assert [work["rename"] for _, work in two.enrolment.work()] == ["Ann", "Anna"]
    two.enrolment.rename("Bob", "BOB")  # only the case
    assert one.nearest(UP) == ["BOB"]


def test_names_that_are_exchanged_while_a_node_does_not_look(pair):
    one, two = pair
    one.enrol("Ann", b"first", UP)
    one.enrol("Bob", b"second", DOWN)
    two.enrolment.catch_up()
    for old, new in (("Ann", "x"), ("Bob", "Ann"), ("x", "Bob")):
        one.enrolment.rename(old, new)
    assert two.nearest(UP) == ["Bob", "Ann"] and two.memory() == one.memory()
    one.enrolment.remove_subject("Ann")
    one.enrol("Ann", b"third", LEFT)
    assert two.memory() == one.memory() and two.nearest(LEFT)[0] == "Ann"


def test_a_copy_of_a_picture_is_no_template_until_the_original_goes(pair):
    one, two = pair
    original, _ = one.enrol("Ann", b"first", UP)
    copy, _ = two.enrol("Ann", b"first, smaller", (1.0, 0.01, 0, 0))
    assert two.enrolment.original_of("Ann", copy.photo) == original.photo
    assert list(one.memory()) == list(two.memory()) == [("Ann", original.photo)]
    assert one.enrolment.original_of("Ann", copy.photo) == original.photo
    assert one.enrolment.remove_photo("Ann", original.photo) == 1
    assert list(two.memory()) == list(one.memory()) == [("Ann", copy.photo)]
    with pytest.raises(PhotoNotFound):
        two.enrolment.remove_photo("Ann", original.photo)
    last = []
    two.enrolment.remove_photo("Ann", copy.photo, last.append)
    assert last == [True] and not one.enrolment.has_folder("Ann")


def test_whose_consent_has_ended_is_found_by_nobody(pair):
    one, two = pair
    one.enrol("Ann", b"first", UP)
    two.enrolment.catch_up()
    one.enrolment.set_consent("Ann", Consent(None, "2020-01-01"))
    assert one.nearest(UP) == two.nearest(UP) == [] and list(two.enrolment.expired()) == ["Ann"]
    two.enrolment.set_consent("Ann", Consent(None, "2999-01-01"))
    assert one.nearest(UP) == ["Ann"] and one.enrolment.next_expiry() > time.time()
    ends = two.gallery.copy._ends
    two.gallery.copy._ends = dict.fromkeys(ends, time.time() - 1)  # the time has come, and nobody changed anything
    two.enrolment.catch_up()
    assert len(two.gallery) == 0


def test_what_an_enrolment_leaves_that_fails(pair, tmp_path):
    one, two = pair

    def fail():
        raise StorageError("no audit log")

    with pytest.raises(StorageError):
        one.enrolment.add("Ann", b"first", "jpg", encoding(b"first", UP), fail)
    assert not one.enrolment.has_folder("Ann") and two.memory() == one.memory() == {}
    assert not [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
    (tmp_path / "photos" / "ab").mkdir()
    (tmp_path / "photos" / "ab" / ("ab" * 16)).write_bytes(b"of a node that was killed")
    one.enrol("Ann", b"first", UP)
    assert two.enrolment.remove_strays() == 1 and one.enrolment.read("Ann/" + photo_id(b"first") + ".jpg", 99) == b"first"


def test_pages_of_people(pair):
    one, two = pair
    for n, name in enumerate(["Zoë", "ann_b", "Bob", "anna"]):
        one.enrol(name, name.encode(), np.eye(DIM)[n])
    one.enrolment.make_folder("Nobody yet")
    assert list(two.enrolment.subjects()) == two.enrolment.names() == ["ann_b", "anna", "Bob", "Zoë"]
    assert [list(two.enrolment.page(start, 3, "")[0]) for start in (0, 3)] == [["ann_b", "anna", "Bob"], ["Zoë"]]
    assert two.enrolment.page(0, 1, "N_")[1] == 1 and two.enrolment.page(0, None, "ann")[1] == 2
    assert sorted(two.enrolment.folder_names()) == ["Bob", "Nobody yet", "Zoë", "ann_b", "anna"]


def test_without_photos_there_are_templates(database_url):
    with closing(Node(database_url, None, "one").enrolment) as enrolment:
        entry, _ = enrolment.add("Ann", b"first", "jpg", encoding(b"first", UP))
        assert entry.path.endswith(".face") and enrolment.thumbnail(entry.photo) is None
        with pytest.raises(FileNotFoundError):
            enrolment.read(entry.path, 100)


def test_a_node_that_was_away_for_longer_than_changes_are_stored(pair):
    one, two = pair
    one.enrol("Ann", b"first", UP)
    one.enrolment.remove_subject("Ann")
    one.enrol("Bob", b"second", DOWN)
    assert one.gallery.copy.prune(days=0) > 0
    two.gallery.copy.reload_if_behind()
    assert two.memory() == one.memory() and two.nearest(UP) == ["Bob"]


def test_a_new_node_reads_ids_of_photos_of_any_length(database):
    first = PostgresGallery(database, ENGINE, DIM)
    from recognizer.core.types import Embedding, Template

    first.add(
        [Template(name, photo, Embedding(np.array(UP, np.float32), ENGINE)) for name, photo in (("a", "p"), ("b", "päö"))]
    )
    second = PostgresGallery(database, ENGINE, DIM)
    second.copy.load()
    assert second.subjects() == {"a": 1, "b": 1} and [each.photo for each in second.templates("b")] == ["päö"]
    assert second.templates("a")[0].embedding.vector.tolist() == list(UP)


def test_every_operation_of_the_enrolment_is_one_of_the_shared_one():
    public = {name for name in vars(Enrolment) if not name.startswith("_")}
    assert public <= set(vars(SharedEnrolment)), public - set(vars(SharedEnrolment))


# --- groups ----------------------------------------------------------------------------------------------------------


def group(node: Node, name: str) -> SharedEnrolment:
    """The enrolment of a group at a node; made if it is not there."""
    node.enrolment.catch_up()
    found = {each.name: each.number for each in node.gallery.copy.groups.values()}
    if name not in found:
        with node.database.write() as changes:
            (number,) = changes.connection.execute(
                "insert into people_group (name, folded) values (%s, %s) returning id", (name, name)
            ).fetchone()
            changes.note("group", number)
        node.enrolment.catch_up()
        found[name] = number
    return node.enrolment.of_group(found[name], name)


def templates(enrolment: SharedEnrolment) -> dict:
    """Everything that searches of a group see."""
    enrolment.catch_up()
    names = sorted(enrolment.gallery.subjects())
    return {(name, each.photo): each.embedding.vector.tolist() for name in names for each in enrolment.gallery.templates(name)}


def test_a_group_has_people_of_its_own(pair, tmp_path):
    one, two = pair
    here, there = group(one, "staff"), group(two, "staff")
    assert here.group == there.group > 0
    photo = photo_id(b"first")
    one.enrol("Ann", b"first", UP)
    here.add("Ann", b"first", "jpg", encoding(b"first", UP))  # the same photo of somebody else of that name
    here.add("Bob", b"second", "jpg", encoding(b"second", DOWN))
    assert not there.is_free("BOB") and one.enrolment.is_free("bob")
    assert list(templates(there)) == [("Ann", photo), ("Bob", photo_id(b"second"))] and list(two.memory()) == [("Ann", photo)]
    assert list(there.subjects()) == ["Ann", "Bob"] and list(two.enrolment.subjects()) == ["Ann"]
    assert [*there.page(0, 9, "b")[0]] == ["Bob"] and two.enrolment.page(0, 9, "b")[1] == 0
    assert there.entry_of(photo_id(b"second")) and two.enrolment.entry_of(photo_id(b"second")) is None
    there.rename("Bob", "Robert")
    there.set_consent("Ann", Consent(None, "2020-01-01"))
    assert list(templates(here)) == [("Robert", photo_id(b"second"))] and list(here.expired()) == ["Ann"]
    assert one.enrolment.expired() == {} and two.nearest(UP) == ["Ann"]
    assert there.remove_subject("Ann") == [photo]
    assert one.enrolment.read(f"Ann/{photo}.jpg", 99) == b"first" and here.left_of("Ann", [photo])["files"] == 0
    assert [work["group"] for _, work in one.enrolment.work()] == ["staff", "staff"]
    one.enrolment.remove_subject("Ann")
    assert here.left_of("Ann", [photo]) == {"files": 0, "templates": 0, "cache_rows": 0} and one.memory() == {}
    assert len([path for path in (tmp_path / "photos").rglob("*") if path.is_file()]) == 1  # Robert's


def test_a_group_that_was_deleted_on_another_node_takes_nobody(pair, tmp_path):
    one, two = pair
    here, there = group(one, "staff"), group(two, "staff")
    before = there.gallery.generation
    with one.database.write() as changes:
        changes.connection.execute("delete from people_group where id = %s", [here.group])
        changes.note("group", here.group)
    for enrolment in (here, there):
        with pytest.raises(GroupNotFound):
            enrolment.add("Ann", b"first", "jpg", encoding(b"first", UP))
        with pytest.raises(GroupNotFound):
            enrolment.make_folder("Ann")
    assert not [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
    two.enrolment.catch_up()
    assert here.group not in two.gallery.copy.groups and there.gallery.generation >= before
    assert group(two, "staff").group not in (0, here.group)  # another one


def test_ids_of_people_are_the_same_on_all_nodes_and_outlive_names(pair, request):
    one, two = pair
    here, there = group(one, "staff"), group(two, "staff")
    here.make_folder("Ann")
    ids, others = (SharedIdentities(each, each.database.hold) for each in (here, there))
    ann = others.update("Ann", lambda held: (held or Identity.new()).with_data(azure={"userData": "a-word"}))
    assert ids.known("Ann") == ann and ids.name_of(ann.id) == "Ann"
    assert ("a-word" in str(one.database.rows("select encode(identity, 'escape') from subject"))) == (
        "sealed" not in request.node.name
    )
    here.rename("Ann", "Anna")
    assert others.name_of(ann.id) == "Anna" and others.of("Anna") == ann and there.identity("Anna") == ann
    entry, _ = here.add("Anna", b"first", "jpg", encoding(b"first", UP))
    here.remove_photo("Anna", entry.photo)
    assert others.name_of(ann.id) == "Anna" and not there.is_enrolled("Anna")  # clients know her still
    there.add("Bob", b"second", "jpg", encoding(b"second", DOWN))
    here.rename("Anna", "Bob", merge=True)  # who had no id
    assert others.name_of(ann.id) == "Bob"
    there.remove_subject("Bob")
    for each in (ids, others):
        with pytest.raises(SubjectNotFound):
            each.name_of(ann.id)
        with pytest.raises(SubjectNotFound):
            each.of("Bob")


@pytest.mark.parametrize("name", [None, "staff"])
def test_two_nodes_that_change_one_person_at_once_end_alike(pair, name):
    """Whoever comes first: both nodes, and one that reads everything anew, have the same people with the same photos."""
    places = [node.enrolment if name is None else group(node, name) for node in pair]
    refused = (SubjectNotFound, NameTaken, PhotoNotFound)
    failed = []

    def change(place, seed: int) -> None:
        drawn = np.random.default_rng(seed)
        for _ in range(20):
            data, who = b"photo %d" % drawn.integers(6), ("Ann", "Bob")[drawn.integers(2)]
            try:
                with DatabaseLock(place.database).hold():
                    match drawn.integers(5):
                        case 0 | 1:
                            place.add(who, data, "jpg", encoding(data, drawn.normal(size=DIM)))
                        case 2:
                            place.rename(who, "Ann" if who == "Bob" else "Bob", merge=bool(drawn.integers(2)))
                        case 3:
                            place.remove_photo(who, photo_id(data))
                        case 4:
                            place.remove_subject(who)
            except refused:
                pass
            except BaseException as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=change, args=(place, seed)) for seed, place in enumerate(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    seen = [templates(place) for place in places]
    anew = PostgresGallery(places[0].database, ENGINE, DIM, places[0].vault).of_group(places[0].group)
    anew.copy.load()
    assert seen[0] == seen[1] == {(n, t.photo): t.embedding.vector.tolist() for n in anew.subjects() for t in anew.templates(n)}
    for place in places:
        listed = {(entry.subject, entry.photo) for entries in place.subjects().values() for entry in entries}
        copies = {key for key in listed if place.original_of(*key)}
        assert listed - copies == set(seen[0])


def test_keys_that_may_sign_are_those_of_all_nodes(database, other):
    vault = Vault([new_key()])
    key, text = Keys(AccessTables(database)).add("signer", "write", None)
    here, there = SigningTable(database, lambda: vault), SigningTable(other, lambda: vault)
    assert there.get(key.id) is None
    here.add(key.id, text)
    assert there.get(key.id) == text and text not in str(database.rows("select encode(secret, 'escape') from access_signing"))
    with pytest.raises(KeyMissing):
        SigningTable(other, lambda: None).get(key.id)
    other.note_away()
    other._failed = time.monotonic() + 3600
    assert there.get(key.id) == text
    with pytest.raises(DatabaseAway):  # never read
        there.get("other")
    other.note_there()
    here.remove(key.id)
    assert there.get(key.id) is None and here.get(key.id) is None


# --- what the other nodes have to do ---------------------------------------------------------------------------------


class Events:
    """A holding of one node that notes what it is asked; it fails as long as it is told to."""

    label = "events"

    def __init__(self):
        self.done, self.fails, self.left = [], False, 0

    def find(self, whose):
        return 0

    def export(self, whose):
        yield from ()

    def rename(self, old, new):
        self._note(("rename", old, new))

    def erase(self, whose):
        self._note(("erase", whose.name, whose.photos, whose.templates.tolist()))

    def verify(self, whose):
        return {"events": self.left}

    def _note(self, what):
        if self.fails:
            raise StorageError("the disk is full")
        self.done.append(what)


def test_the_other_node_does_in_its_events_what_was_done_here(pair):
    one, two = pair
    events = Events()
    groups = []
    work = NodeWork(two.enrolment, lambda of: groups.append((of.group, of.group_name)) or [events], DIM)
    one.enrol("Ann", b"first", UP)
    second, _ = one.enrol("Ann", b"second", DOWN)
    one.enrolment.rename("Ann", "Anna")
    one.enrolment.remove_photo("Anna", second.photo)
    one.enrolment.remove_subject("Anna")
    events.fails = True
    assert work.run() == 0 and nodes.everyone(one.database)[1].work == 3
    events.fails, events.left = False, 1
    assert work.run() == 2  # the erasure left something, and is done again
    events.left = 0
    assert work.run() == 1 and work.run() == 0
    photo = photo_id(b"first")
    assert events.done == [
        ("rename", "Ann", "Anna"),
        ("erase", "", (second.photo,), []),
        ("erase", "Anna", (photo,), [list(UP)]),
        ("erase", "Anna", (photo,), [list(UP)]),
    ]
    assert [each.work for each in nodes.everyone(one.database)] == [0, 0]
    assert "Anna" not in str(one.database.rows("select * from node_work")) and set(groups) == {(0, None)}
    staff = group(one, "staff")
    staff.add("Ann", b"first", "jpg", encoding(b"first", UP))
    staff.remove_subject("Ann")
    assert work.run() == 1 and groups[-1] == (staff.group, "staff")
