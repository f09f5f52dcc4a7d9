"""Encryption: what is sealed opens again, for what it was sealed for, with the right key, and not when it was changed."""

from __future__ import annotations

import io
import os
import pickle
import sqlite3
import stat
from contextlib import closing

import numpy as np
import pytest

from recognizer.core.errors import KeyMissing, SealBroken, SettingsError
from recognizer.core.vault import (
    OVERHEAD,
    PIECE,
    Vault,
    create_key_file,
    is_sealed,
    key_file_text,
    most_sealed,
    new_key,
    open_vault,
    read_keys,
    sealed_by,
)
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.cache_rows import row_checksum
from recognizer.enrolment.encodings import Encoding, FileStamp
from recognizer.events.event_files import seconds
from recognizer.events.event_log import EventLog
from recognizer.events.event_sealing import read_all, reseal

A, B = bytes(range(32)), bytes(range(1, 33))


@pytest.mark.parametrize("data", [b"", b"x", b"RCGZ\x01", bytes(100_000)])
def test_what_is_sealed_opens_again(data):
    vault = Vault([A])
    sealed = vault.seal(data, "photo")
    assert is_sealed(sealed) and len(sealed) == len(data) + OVERHEAD and sealed_by(sealed) == vault.current
    assert vault.open(sealed, "photo") == vault.open_or_plain(sealed, "photo") == data
    assert vault.seal(data, "photo") != sealed
    assert pickle.loads(pickle.dumps(vault)).open(sealed, "photo") == data


def test_every_changed_byte_is_noticed():
    vault, sealed = Vault([A]), Vault([A]).seal(b"twelve bytes", "photo")
    for at in range(len(sealed)):
        with pytest.raises((SealBroken, KeyMissing)):
            vault.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], "photo")
        with pytest.raises(SealBroken):
            vault.open(sealed[:at], "photo")
    for wrong in ("thumbnail", "", "photo "):
        with pytest.raises(SealBroken):
            vault.open(sealed, wrong)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7])
def test_what_is_sealed_in_pieces_opens_again(size):
    data, vault = os.urandom(size), Vault([new_key()])
    sealed = b"".join(vault.sealed_pieces(io.BytesIO(data).read, "photo"))
    assert is_sealed(sealed) and sealed_by(sealed) == vault.current and len(sealed) <= most_sealed(size)
    assert vault.open(sealed, "photo") == b"".join(vault.opened_pieces(io.BytesIO(sealed), "photo")) == data
    for wrong in (
        sealed[:-1],
        sealed[:-PIECE],
        sealed + b"x",
        sealed[:30] + bytes([sealed[30] ^ 1]) + sealed[31:],
        sealed[:20],
    ):
        with pytest.raises(SealBroken):
            vault.open(wrong, "photo")
    with pytest.raises(SealBroken):
        vault.open(sealed, "thumbnail")
    with pytest.raises(KeyMissing):
        Vault([new_key()]).open(sealed, "photo")


def test_pieces_cannot_change_places_or_go_to_another_file():
    vault, piece = Vault([new_key()]), PIECE + 28
    one, other = (b"".join(vault.sealed_pieces(io.BytesIO(os.urandom(3 * PIECE)).read, "photo")) for _ in range(2))
    head = len(one) - 3 * piece
    first, second, third = (one[head + i * piece : head + (i + 1) * piece] for i in range(3))
    for pieces in ((second, first, third), (first, second), (first, second, third, third), (first, other[-piece:])):
        with pytest.raises(SealBroken):
            vault.open(one[:head] + b"".join(pieces), "photo")
    with pytest.raises(SealBroken):
        vault.open(one[:-piece] + other[-piece:], "photo")


def test_keys_are_told_apart():
    sealed = Vault([A]).seal(b"x", "photo")
    with pytest.raises(KeyMissing):
        Vault([B]).open(sealed, "photo")
    both = Vault([B, A])
    assert both.open(sealed, "photo") == b"x" and sealed_by(both.seal(b"x", "photo")) == Vault([B]).current
    assert A.hex() not in repr(both) and both.ids == [Vault([B]).current, Vault([A]).current]


def test_marks_are_the_same_for_the_same_text():
    vault = Vault([A])
    assert vault.mark("Ada/1.jpg") == vault.mark("Ada/1.jpg") != vault.mark("Ada/2.jpg") != Vault([B]).mark("Ada/2.jpg")
    assert vault.unmark(vault.mark("Zoë/1.jpg")) == "Zoë/1.jpg"
    for wrong in ("", "xx", vault.mark("x")[:-4], Vault([B]).mark("x")):
        with pytest.raises(SealBroken):
            vault.unmark(wrong)


def test_key_files(tmp_path):
    file = tmp_path / "key"
    create_key_file(file, [A, B])
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600 and open_vault(None, file).ids == Vault([A, B]).ids
    with pytest.raises(FileExistsError):
        create_key_file(file, [new_key()])
    assert read_keys(key_file_text([A]).strip().removeprefix("recognizer-key-1:")) == [A] and open_vault(None, None) is None
    for text in ("", "short", key_file_text([A])[:-5], "ü" * 40, key_file_text([A]) + "junk"):
        with pytest.raises(SettingsError) as error:
            read_keys(text)
        assert "junk" not in error.value.message
    for key, named in (("x", file), (None, tmp_path / "none"), (None, tmp_path)):
        with pytest.raises(SettingsError):
            open_vault(key, named)


def filled(path, vault=None) -> EncodingsCache:
    cache = EncodingsCache(path, vault)
    cache.put([Encoding("a" * 32, "e", vector=np.arange(4, dtype=np.float32) + 0.37)], {"a" * 32: b"\xff\xd8\xffTHUMB"})
    cache.remember_files([("Zebulon/1.jpg", FileStamp(1, 2, 3), "a" * 32), ("Zebu/1.jpg", FileStamp(1, 2, 3), "b" * 32)])
    return cache


def raw(path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))


SECRETS = (b"THUMB", b"Zebulon", (np.arange(4, dtype=np.float32) + 0.37).tobytes())


def test_a_cache_goes_from_plain_to_one_key_to_another_and_back(tmp_path):
    path = tmp_path / "encodings.sqlite"
    filled(path).close()
    assert all(secret in raw(path) for secret in SECRETS)
    for vault in (Vault([A]), Vault([A]), Vault([B, A]), Vault([B])):
        cache = EncodingsCache(path, vault)
        assert cache.thumbnail("a" * 32) == b"\xff\xd8\xffTHUMB" and set(cache.files()) == {"Zebulon/1.jpg", "Zebu/1.jpg"}
        assert cache.encodings("e")["a" * 32, "only"].vector[1] == np.float32(1.37)
        cache.close()
        assert not any(secret in raw(path) for secret in SECRETS)
    for wrong in (None, Vault([A])):
        with pytest.raises(KeyMissing):
            EncodingsCache(path, wrong)
    cache = EncodingsCache(path, Vault([B]))
    assert cache.files_below("Zebu") == {"Zebu/1.jpg": "b" * 32}
    cache.erase(cache.files_below("Zebu"), ["b" * 32], ["Zebu"])
    assert set(cache.files()) == {"Zebulon/1.jpg"}
    cache.decrypt()
    cache.close()
    cache = EncodingsCache(path)
    assert cache.thumbnail("a" * 32) == b"\xff\xd8\xffTHUMB" and set(cache.files()) == {"Zebulon/1.jpg"}
    cache.close()


@pytest.mark.parametrize("repaired", [False, True])
def test_what_was_put_into_another_row_is_as_if_it_were_not_there(tmp_path, repaired, caplog):
    """The checksum shows that by itself; if somebody wrote that anew as well, the seal does."""
    path, vault = tmp_path / "encodings.sqlite", Vault([A])
    cache = filled(path, vault)
    cache.put([Encoding("c" * 32, "e", vector=np.ones(4, np.float32))], {"c" * 32: b"\xff\xd8\xffOTHER"})
    cache.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, column in (("encodings", "vector"), ("thumbnails", "jpeg")):
            query = f"UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE photo = ?) WHERE photo = ?"
            connection.execute(query, ("a" * 32, "c" * 32))
            if repaired:
                row = connection.execute(f"SELECT * FROM {table} WHERE photo = ?", ("c" * 32,)).fetchone()
                query = f"UPDATE {table} SET checksum = ? WHERE photo = ?"
                connection.execute(query, (row_checksum(row[:-1]), "c" * 32))
    cache = EncodingsCache(path, vault)
    assert set(cache.encodings("e")) == {("a" * 32, "only")} and "made again" in caplog.text
    assert cache.thumbnail("c" * 32) is None
    assert (cache.thumbnail("a" * 32) is not None) == repaired  # a damaged file's thumbnails are all made again
    cache.close()


def test_a_cache_whose_note_of_the_key_is_damaged_is_made_anew(tmp_path):
    path, vault = tmp_path / "encodings.sqlite", Vault([A])
    filled(path, vault).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ?", (Vault([B]).current,))
    cache = EncodingsCache(path, vault)
    assert cache.encodings("e") == {} and cache.files() == {}
    cache.put([Encoding("c" * 32, "e", vector=np.ones(4, np.float32))])
    assert len(cache.encodings("e")) == 1
    cache.close()


def test_rows_that_are_damaged_are_not_encrypted_anew(tmp_path):
    path = tmp_path / "encodings.sqlite"
    filled(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE files SET photo = 'x' WHERE path LIKE 'Zebu/%'")
    cache = EncodingsCache(path, Vault([A]))
    assert set(cache.files()) == {"Zebulon/1.jpg"} and len(cache.encodings("e")) == 1
    cache.close()


#: When the events happened, and what the log's clock says: no test depends on its day.
EVENT_TIME = "2026-11-21T10:00:00Z"


def clock() -> float:
    return seconds(EVENT_TIME)


def event(subject: str) -> dict:
    return {"id": 0, "kind": "appeared", "camera": "door", "time": EVENT_TIME, "subject": subject}


def test_events_are_encrypted_and_go_on_by_id(tmp_path):
    folder, vault = tmp_path / "events", Vault([A])
    log = EventLog(folder, vault=vault, now=clock)
    log.append([event("Zebulon"), event("Bob")], [b"\xff\xd8\xffFACE", None])
    log.close()
    on_disk = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not any(secret in on_disk for secret in (b"Zebulon", b"FACE", b"appeared"))
    blind = EventLog(folder, now=clock)  # without the key nothing is read, and nothing is lost
    assert blind.last == 2 and blind.read(0, 10) == [] and blind.counts["repaired"] == 0
    with pytest.raises(KeyMissing):
        blind.erase("Bob")
    blind.close()
    log = EventLog(folder, vault=vault, now=clock)
    assert [each["subject"] for each in log.read(0, 10)] == ["Zebulon", "Bob"] and log.thumbnail(1) == b"\xff\xd8\xffFACE"
    assert log.append([event("Eve")]) == 3 and log.erase("Zebulon") == 1
    log.close()
    other = Vault([B])
    assert reseal(folder, Vault([B, A]), Vault([B, A])) == 1 and reseal(folder, Vault([B, A]), Vault([B, A])) == 0
    assert [each["subject"] for each in read_all(folder, other)] == [None, "Bob", "Eve"]
    reseal(folder, other, None)
    assert [each["subject"] for each in read_all(folder)] == [None, "Bob", "Eve"]
