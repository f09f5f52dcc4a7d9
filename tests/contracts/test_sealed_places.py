"""Settings that are stored as one piece: the same in a file of the state folder and in the database of nodes."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import pytest

from recognizer.core.errors import KeyMissing, StorageError, SubscriptionNotFound, TooManySubscriptions
from recognizer.core.sealed_file import SealedFile
from recognizer.core.vault import Vault, is_sealed, new_key
from recognizer.database.connection import Database
from recognizer.database.sealed_row import SealedRow
from recognizer.events.receiver_store import MQTT, ReceiverStore
from recognizer.events.webhooks import webhook_id
from recognizer.rules import push_store
from recognizer.rules.push_store import PushStore

from ..push_services import Browser

NAMES = ("webhooks", "mqtt_url", "mqtt_prefix")
HOOK, OTHER = "https://example.org/hook?token=hidden", "https://example.org/other"


class InFile:
    """Places in a folder; each call gives another process's."""

    shared = False

    def __init__(self, folder: Path):
        self.folder = folder

    def place(self, vault: Vault | None = None, purpose: str = "test") -> SealedFile:
        return SealedFile(self.folder / "place.json", "the settings", purpose, vault)

    def receivers(self, vault: Vault | None = None) -> ReceiverStore:
        return ReceiverStore.in_file(self.folder / "receivers.json", NAMES, vault)

    def push(self, vault: Vault | None = None) -> PushStore:
        return PushStore.in_file(self.folder / "push.json", vault)

    def content(self, name: str) -> bytes:
        return (self.folder / f"{name}.json").read_bytes()

    def damage(self, name: str, data: bytes) -> None:
        (self.folder / f"{name}.json").write_bytes(data)


class InDatabase:
    """The same in a database; each call gives another node's."""

    shared = True

    def __init__(self, database: Database):
        self.database = database

    def place(self, vault: Vault | None = None, purpose: str = "test") -> SealedRow:
        return SealedRow(self.database, "place", "the settings", purpose, vault)

    def receivers(self, vault: Vault | None = None) -> ReceiverStore:
        return ReceiverStore.in_database(self.database, NAMES, vault)

    def push(self, vault: Vault | None = None) -> PushStore:
        return PushStore.in_database(self.database, vault)

    def content(self, name: str) -> bytes:
        return bytes(self.database.rows("select content from kept where key = %s", [name])[0][0])

    def damage(self, name: str, data: bytes) -> None:
        statement = "update kept set content = %s, revision = revision + 1 where key = %s returning key"
        assert self.database.rows(statement, (data, name))


@pytest.fixture(params=["file", pytest.param("database", marks=pytest.mark.network)])
def stored(request, tmp_path):
    if request.param == "file":
        yield InFile(tmp_path)
        return
    with closing(Database(request.getfixturevalue("database_url"))) as database:
        yield InDatabase(database)


def test_what_one_writes_the_other_reads(stored, vault):
    one, two = stored.place(vault), stored.place(vault)
    assert one.changed() and one.missing and two.changed() and two.missing
    with one.held():
        one.write(b"hidden")
    assert one.changed() and not one.missing and one.read() == b"hidden"
    assert two.changed() and two.read() == b"hidden"
    assert is_sealed(stored.content("place")) is (vault is not None)
    with two.held():
        two.write(b"other")
    assert one.changed() and one.read() == b"other" and "place" in one.name
    one.forget()
    assert one.changed()


def test_what_is_sealed_needs_its_key_and_its_purpose(stored):
    vault = Vault([new_key()])
    one = stored.place(vault)
    with one.held():
        one.write(b"hidden")
    with pytest.raises(KeyMissing, match="the settings are encrypted"):
        stored.place().read()
    with pytest.raises(StorageError):
        stored.place(vault, "another").read()


def test_receivers_of_one_are_those_of_the_other(stored, vault):
    one, two = stored.receivers(vault), stored.receivers(vault)
    assert one.all() == two.all() == {}
    one.change(lambda held: {**held, "webhooks": [HOOK], "mqtt_prefix": None})
    assert two.all() == {"webhooks": [HOOK]} and (b"hidden" in stored.content("receivers")) is (vault is None)
    begun = two.since(webhook_id(HOOK))
    assert (begun > 1_700_000_000) is stored.shared and two.since(MQTT) == 0
    two.change(lambda held: {**held, "webhooks": [HOOK, OTHER], "mqtt_url": "mqtt://10.0.0.1"})
    assert one.all()["webhooks"] == [HOOK, OTHER]
    assert one.since(webhook_id(HOOK)) == begun  # it was set before
    assert (one.since(webhook_id(OTHER)) >= begun and one.since(MQTT) >= begun > 0) is stored.shared
    one.change(lambda held: {"webhooks": [OTHER]})
    assert two.all() == {"webhooks": [OTHER]} and two.since(MQTT) == 0
    if vault is not None:
        with pytest.raises(KeyMissing):
            stored.receivers().all()


def test_receivers_of_another_installation_are_taken_in_where_there_are_none(stored):
    one = stored.receivers()
    assert one.take_in({"webhooks": [HOOK], "mqtt_prefix": "house"}) == 2
    assert stored.receivers().take_in({"webhooks": [OTHER]}) == 0 and one.all() == {"webhooks": [HOOK], "mqtt_prefix": "house"}


def test_damaged_receivers_are_reported_and_not_overwritten(stored):
    one = stored.receivers()
    one.change(lambda held: {"webhooks": [HOOK]})
    stored.damage("receivers", b"{broken")
    for call in (one.all, lambda: one.change(lambda held: {"mqtt_prefix": "x"})):
        with pytest.raises(StorageError, match=r"receivers.*damaged"):
            call()
    assert stored.content("receivers") == b"{broken"


def test_a_change_that_fails_changes_nothing(stored):
    one = stored.receivers()
    one.change(lambda held: {"mqtt_prefix": "house"})

    def fail(held: dict) -> dict:
        raise StorageError("full")

    with pytest.raises(StorageError, match="full"):
        one.change(fail)
    assert one.all() == stored.receivers().all() == {"mqtt_prefix": "house"}


def test_browsers_of_one_are_those_of_the_other(stored, vault, monkeypatch):
    one, two = stored.push(vault), stored.push(vault)
    assert one.all() == []
    key = one.key()
    assert two.key() == key == one.key()
    made = two.add(Browser("https://push.example").subscription())
    again = one.add(dataclasses.replace(made, id="", label="Chrome"))
    assert (again.id, again.label) == (made.id, "Chrome") and two.all() == [again] and two.get(made.id) == again
    assert (made.auth.encode() in stored.content("push")) is (vault is None)
    monkeypatch.setattr(push_store, "MOST_SUBSCRIPTIONS", 1)
    with pytest.raises(TooManySubscriptions):
        two.add(Browser("https://push.example", "other").subscription())
    assert two.remove(lambda each: each.id == made.id) == [again] and one.all() == []
    with pytest.raises(SubscriptionNotFound):
        one.get(made.id)
    assert one.key() == key
    if vault is not None:
        with pytest.raises(KeyMissing):
            stored.push().key()


def test_a_key_and_browsers_of_another_installation_are_taken_in_where_there_are_none(stored, tmp_path):
    other = PushStore.in_file(tmp_path / "other" / "push.json")
    assert stored.push().take_in(other) == 0 and stored.push().all() == []
    assert stored.push().key() != other.key()  # somebody has looked at the page before
    made = other.add(Browser("https://push.example").subscription())
    assert stored.push().take_in(other) == 1 and stored.push().take_in(other) == 0
    assert stored.push().all() == [made] and stored.push().key() == other.key()


def test_one_of_all_who_heard_of_strangers_says_so(stored):
    one, two = stored.push(), stored.push()
    assert one.turn(0.0, 600.0) == 0
    assert two.turn(5.0, 600.0) is None  # it heard of them before the message was sent
    wait = two.turn(-5.0, 600.0)  # it heard later
    assert wait is not None and 0 < wait <= 600
    assert two.turn(-5.0, 0.0) == 0
