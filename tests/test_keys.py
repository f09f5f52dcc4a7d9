"""Keys and sessions: made, checked, remembered, revoked, expired; and what of them is on the disk."""

from __future__ import annotations

import ast
import contextlib
import hmac
import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recognizer.access import keys as keys_module
from recognizer.access import sessions as sessions_module
from recognizer.access.access_file import AccessFile
from recognizer.access.keys import ROLES, SETTING, Keys
from recognizer.access.sessions import Sessions, csrf_token
from recognizer.core.errors import InvalidKey, InvalidParameter, KeyExpired, KeyNotFound, RateLimited, StorageError

from .streams import wait_for

PACKAGE = Path(keys_module.__file__).parent


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "state" / "access.sqlite"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(file, clock) -> Keys:
    return Keys(AccessFile(file), clock=clock)


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """What was hashed slowly, in order."""
    seen, real = [], keys_module.is_right_key

    def count(hash, text):
        seen.append(text)
        return real(hash, text)

    monkeypatch.setattr(keys_module, "is_right_key", count)
    return seen


def failure(call, *arguments) -> Exception | None:
    """What a call raises: a change of the file is noticed soon after it was made."""
    try:
        call(*arguments)
    except (InvalidKey, StorageError) as error:
        return error
    return None


# -- keys ----------------------------------------------------------------------------------------------------------


def test_nothing_is_made_by_asking(keys, file):
    assert not keys.required() and keys.all() == []
    with pytest.raises(InvalidKey):
        keys.check("rk_abcdefgh_" + "A" * 43)
    assert not file.parent.exists()


@pytest.mark.parametrize("role", ROLES)
def test_a_key_is_right_and_nothing_else_is(keys, role):
    made, text = keys.add("camera", role)
    assert keys.check(text) == made and (made.role, made.name) == (role, "camera")
    wrong = [
        "",
        " ",
        text[:-1],
        text + "A",
        text.upper(),
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        " " + text,
        "rk_aaaaaaaa_" + text[12:],
        text[:12] + "A" * 43,
        "x" * 600,
        "\udcff",
        "rk__",
        f"rk_{made.id}_" + "\0" * 43,
        made.hash,
    ]
    for each in wrong:
        with pytest.raises(InvalidKey):
            keys.check(each)


def test_keys_differ_and_are_long(keys):
    texts = [keys.add("a", "read")[1] for _ in range(3)]
    assert len(set(texts)) == len({text[3:11] for text in texts}) == 3
    assert all(len(text) == 55 for text in texts)


@pytest.mark.parametrize(("name", "role"), [("", "read"), (" ", "read"), ("a\nb", "read"), ("x" * 101, "read"), ("a", "root")])
def test_keys_that_cannot_be_made(keys, file, name, role):
    with pytest.raises(InvalidParameter):
        keys.add(name, role)
    assert not file.exists()


def test_the_secret_is_not_on_the_disk_and_the_file_is_its_owners(keys, file, clock):
    _, text = keys.add("camera", "read")
    token, _ = Sessions(AccessFile(file), keys, 60, clock).begin(keys.check(text))
    for each in file.parent.iterdir():
        data = each.read_bytes()
        assert text.encode() not in data and text[12:].encode() not in data and token.encode() not in data
    assert b"$argon2id$" in file.read_bytes()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.chmod(0o644)
        keys.add("other", "read")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert text not in repr(keys.all()) and keys.all()[0].hash not in repr(keys.all())


def test_a_key_runs_out(keys, clock):
    made, text = keys.add("guest", "read", clock.now + 10)
    assert keys.check(text) == made and keys.living(made.id) == made
    clock.now += 10
    with pytest.raises(KeyExpired):
        keys.check(text)
    assert keys.living(made.id) is None and keys.required()
    with pytest.raises(InvalidKey):  # whoever guesses does not learn that it has
        keys.check(text[:12] + "A" * 43)
    with pytest.raises(InvalidParameter):
        keys.add("guest", "read", clock.now)


def test_another_process_revokes_a_key_and_this_one_notices(keys, file):
    made, text = keys.add("a", "read")
    assert keys.check(text) == made
    Keys(AccessFile(file)).revoke(made.id)
    wait_for(lambda: failure(keys.check, text))
    with pytest.raises(InvalidKey, match="revoked"):
        keys.check(text)
    assert keys.required(), "revoking the last key must not open the house"
    assert Keys(AccessFile(file)).required(), "nor restarting"


def test_a_key_that_another_process_made_is_known_at_once(keys, file):
    keys.add("a", "read")
    assert keys.required()
    _, text = Keys(AccessFile(file)).add("b", "write")
    assert keys.check(text).name == "b"


def test_revoking_twice_and_revoking_nobody(keys):
    made, _ = keys.add("a", "read")
    first = keys.revoke(made.id)
    assert keys.revoke(made.id) == first and first.revoked is not None
    with pytest.raises(KeyNotFound):
        keys.revoke("nothing")


@pytest.mark.slow
def test_losing_the_file_locks_everybody_out(keys, file):
    _, text = keys.add("a", "read")
    assert keys.check(text)
    file.unlink()
    wait_for(lambda: failure(keys.check, text))
    assert keys.required()
    with pytest.raises(InvalidKey):
        keys.check(text)


def test_a_damaged_file_locks_everybody_out_and_says_so(keys, file):
    _, text = keys.add("a", "read")
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + os.urandom(len(whole) - 100))
    wait_for(lambda: failure(keys.check, text))
    for _ in range(2):
        with pytest.raises(StorageError):
            keys.check(text)
    with pytest.raises(StorageError):
        Keys(AccessFile(file)).required()
    file.write_bytes(whole)
    assert wait_for(lambda: not failure(keys.check, text))


def test_no_wrong_byte_makes_a_file_without_keys(file):
    """What a page says about itself: with another count of its rows, the table would be empty, and everybody let in."""
    keys = Keys(AccessFile(file))
    keys.add("a", "read")
    whole, size = file.read_bytes(), 4096
    damaged = 0
    for page in range(0, len(whole), size):
        begin = page + (100 if page == 0 else 0)  # after the file's own header
        for place in range(begin, begin + 12):
            for value in {0, 1, 255} - {whole[place]}:
                file.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
                try:
                    assert Keys(AccessFile(file)).required(), (place, value)
                except StorageError:
                    damaged += 1
                    with pytest.raises(StorageError):
                        AccessFile(file).revoke_key("nobody", 1.0)  # nor is anything written into it
    assert damaged > 20


def test_no_wrong_byte_makes_another_key_or_session(file, clock):
    """Another role, a later end, or a revocation that is undone: whatever a failing disk changes within a row is noticed."""
    keys = Keys(AccessFile(file), clock=clock)
    guest, _ = keys.add("guest", "read", clock.now + 1000)
    Sessions(AccessFile(file), keys, 100, clock).begin(guest)
    keys.revoke(keys.add("gone", "admin")[0].id)
    Sessions(AccessFile(file), keys, 100, clock).begin(guest)
    held, whole = AccessFile(file).held(), bytearray(file.read_bytes())
    assert len(held.keys) == 2 and len(held.sessions) == 2
    refused = ended = 0
    for what in (b"$argon2id$", next(iter(held.sessions)).encode()):
        middle = whole.index(what)
        for place in range(max(0, middle - 250), min(len(whole), middle + 250)):
            for bit in (1, 32):
                file.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
                try:
                    found = AccessFile(file).held()
                except StorageError:
                    refused += 1
                    continue
                assert found.keys == held.keys, (place, bit)
                assert found.sessions.items() <= held.sessions.items(), (place, bit)
                ended += len(held.sessions) - len(found.sessions)
    assert refused > 200 and ended > 100


def changed(file: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("value", ["role = 'admin'", "expires = expires + 1", "hash = 'x'", "name = 'b'", "made = 1"])
def test_nothing_is_written_into_a_file_with_a_damaged_key(keys, file, clock, value):
    made, text = keys.add("a", "read", clock.now + 100)
    changed(file, f"UPDATE keys SET {value}")
    with pytest.raises(StorageError, match="damaged"):
        AccessFile(file).held()
    wait_for(lambda: failure(keys.check, text))
    for change in (lambda: keys.add("b", "admin"), lambda: AccessFile(file).revoke_key(made.id, 1.0)):
        with pytest.raises(StorageError, match="damaged"):
            change()


def test_a_damaged_session_has_ended_and_leaves_the_disk(sessions, keys, file):
    made, _ = keys.add("a", "write")
    whole, damaged = sessions.begin(made)[0], sessions.begin(made)[0]
    name = sessions_module.session_name(damaged)
    changed(file, f"UPDATE sessions SET expires = expires + 1 WHERE token = '{name}'")
    assert wait_for(lambda: sessions.find(damaged) is None) and sessions.find(whole) is not None
    third = sessions.begin(made)[0]
    assert sessions.find(whole) is not None and sessions.find(third) is not None
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (2,)


#: The tables as releases before the digests made them.
EARLIER = (
    "CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash TEXT NOT NULL, "
    "made REAL NOT NULL, expires REAL, revoked REAL) WITHOUT ROWID",
    "CREATE TABLE sessions (token TEXT PRIMARY KEY, key TEXT NOT NULL, proof TEXT NOT NULL, "
    "expires REAL NOT NULL) WITHOUT ROWID",
)


def test_a_file_of_an_earlier_release_is_read_and_has_digests_once_it_is_written(file):
    file.parent.mkdir()
    changed(file, *EARLIER, "INSERT INTO keys VALUES ('abcdefgh', 'old', 'read', 'x', 1, 2, NULL)")
    assert [key.id for key in Keys(AccessFile(file)).all()] == ["abcdefgh"]
    made, _ = Keys(AccessFile(file)).add("new", "write")
    # and that release, if it is used again
    changed(
        file,
        f"UPDATE keys SET revoked = 3 WHERE id = '{made.id}'",
        "INSERT INTO keys (id, name, role, hash, made) VALUES ('bbbbbbbb', 'newer', 'read', 'y', 4)",
    )
    assert {key.name: key.revoked for key in Keys(AccessFile(file)).all()} == {"old": None, "new": 3.0, "newer": None}
    Keys(AccessFile(file)).revoke("bbbbbbbb")
    changed(file, "UPDATE keys SET role = 'admin' WHERE id = 'abcdefgh'")
    with pytest.raises(StorageError, match="damaged"):
        Keys(AccessFile(file)).all()


@pytest.mark.parametrize("begun", [False, True])
def test_a_file_of_nothing_opens_nothing(file, begun):
    """It is never made empty: its keys were lost."""
    file.parent.mkdir()
    file.touch()
    if begun:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 1")
    keys = Keys(AccessFile(file))
    for ask in (keys.required, keys.all, lambda: keys.check("rk_abcdefgh_" + "a" * 43)):
        with pytest.raises(StorageError, match="empty"):
            ask()


def test_only_a_whole_file_is_ever_in_place(file):
    made, text = Keys(AccessFile(file)).add("first", "read")
    assert Keys(AccessFile(file)).check(text).id == made.id
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_right_keys_are_no_attempts(keys, file):
    """Many devices behind one address show their keys after a restart."""
    counted = []
    text = keys.add("device", "read")[1]
    fresh = Keys(AccessFile(file))
    fresh.check(text, after_wrong=lambda: counted.append("right"))
    with pytest.raises(InvalidKey):
        fresh.check(text[:-1] + ("a" if text[-1] != "a" else "b"), after_wrong=lambda: counted.append("wrong"))
    assert counted == ["wrong"]


def test_the_settings_key(file, hashed):
    keys = Keys(AccessFile(file), "correct-horse-battery-staple")
    assert keys.required() and keys.check("correct-horse-battery-staple").role == "admin"
    assert hashed == [] and keys.living(SETTING) is not None
    with pytest.raises(InvalidKey):
        keys.check("correct-horse-battery-stapl")
    assert not file.exists()


# -- what is remembered ------------------------------------------------------------------------------------------------


def test_a_key_that_was_right_is_hashed_once(keys, hashed):
    _, text = keys.add("a", "read")
    for _ in range(5):
        keys.check(text)
    assert hashed == [text]


def test_what_was_wrong_is_not_remembered_and_does_not_spoil_what_was_right(keys, hashed):
    made, text = keys.add("a", "read")
    keys.check(text)
    for _ in range(3):
        with pytest.raises(InvalidKey):
            keys.check(text[:12] + "A" * 43)
    assert keys.check(text) == made
    assert len(hashed) == 4


def test_an_unknown_id_costs_as_much_as_a_known_one(keys, hashed):
    with pytest.raises(InvalidKey):
        keys.check("rk_abcdefgh_" + "A" * 43)
    assert len(hashed) == 1


def test_many_who_show_one_key_at_once_have_it_hashed_once(keys, hashed):
    made, text = keys.add("a", "read")
    tries = []
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: keys.check(text, lambda: tries.append(1)), range(16))) == {made}
    assert len(hashed) == len(tries) == 1


def test_what_is_remembered_is_forgotten_in_time_and_bounded(keys, hashed, monkeypatch):
    monkeypatch.setattr(keys_module, "REMEMBERED_KEYS", 2)
    texts = [keys.add("a", "read")[1] for _ in range(3)]
    for text in texts:
        keys.check(text)
    keys.check(texts[1])
    keys.check(texts[2])
    assert hashed == texts
    keys.check(texts[0])
    assert hashed == [*texts, texts[0]]
    monkeypatch.setattr(keys_module, "REMEMBERED_SECONDS", -1.0)
    _, text = keys.add("b", "read")
    keys.check(text)
    keys.check(text)
    assert hashed[-2:] == [text, text]


def test_what_is_remembered_holds_no_key(keys):
    _, text = keys.add("a", "read")
    keys.check(text)
    assert text not in repr(vars(keys)) and text.encode() not in repr(vars(keys)).encode()


def test_hashing_can_be_forbidden(keys, hashed):
    def refuse():
        raise RateLimited("too many")

    _, text = keys.add("a", "read")
    with pytest.raises(RateLimited):
        keys.check(text, refuse)
    assert hashed == []
    keys.check(text)
    keys.check(text, refuse)  # what is remembered needs no hashing


def test_secrets_are_compared_in_constant_time(keys, file, monkeypatch):
    """Every comparison of something secret goes through hmac.compare_digest or argon2's own."""
    compared, real = [], hmac.compare_digest

    def compare(a, b):
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    _, text = keys.add("a", "read")
    keys.check(text)
    assert compared == []  # argon2's own
    keys.check(text)
    assert len(compared) == 1
    settled = Keys(AccessFile(file), "correct-horse-battery-staple")
    settled.check("correct-horse-battery-staple")
    assert len(compared) == 2
    secret = {"text", "digest", "token", "shown", "given", "proof"}
    for module in ("keys.py", "sessions.py", "gate.py"):
        for node in ast.walk(ast.parse((PACKAGE / module).read_text("utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops):
                names = {getattr(each, "attr", getattr(each, "id", None)) for each in (node.left, *node.comparators)}
                assert not names & secret, f"{module}: {ast.unparse(node)}"


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sessions(file, keys, clock) -> Sessions:
    return Sessions(AccessFile(file), keys, 100.0, clock)


def test_a_session_is_found_until_it_ends(sessions, keys, clock):
    made, _ = keys.add("a", "write")
    token, expires = sessions.begin(made)
    assert sessions.find(token) == (made, expires) and expires == clock.now + 100
    for wrong in ("", token[:-1], "A" * 43, token + "A"):
        assert sessions.find(wrong) is None
    sessions.end(token)
    assert sessions.find(token) is None
    token, _ = sessions.begin(made)
    clock.now += 100
    assert sessions.find(token) is None


def test_a_session_ends_with_its_key(sessions, keys, clock, file):
    guest, _ = keys.add("guest", "read", clock.now + 50)
    token, expires = sessions.begin(guest)
    assert expires == clock.now + 50
    clock.now += 50
    assert sessions.find(token) is None
    made, _ = keys.add("a", "read")
    token, _ = sessions.begin(made)
    Keys(AccessFile(file), clock=clock).revoke(made.id)
    assert wait_for(lambda: sessions.find(token) is None)


def test_a_session_of_the_settings_key_ends_when_that_changes(file, clock):
    token = None
    for key, lives in (("correct-horse-battery-staple", True), ("another-horse-battery-staple", False), (None, False)):
        opened = AccessFile(file)
        keys = Keys(opened, key, clock)
        sessions = Sessions(opened, keys, 100.0, clock)
        if token is None:
            token, _ = sessions.begin(keys.check(key))
        assert (sessions.find(token) is not None) is lives


def test_another_process_finds_a_session_at_once(sessions, keys, file, clock):
    made, _ = keys.add("a", "read")
    other_file = AccessFile(file)
    other = Sessions(other_file, Keys(other_file, clock=clock), 100.0, clock)
    assert other.find("A" * 43) is None
    token, _ = sessions.begin(made)
    assert other.find(token) is not None


def test_sessions_are_bounded_and_old_ones_leave_the_disk(sessions, keys, file, clock, monkeypatch):
    monkeypatch.setattr(sessions_module, "MOST_PER_KEY", 3)
    made, _ = keys.add("a", "read")
    tokens = []
    for _ in range(5):
        clock.now += 1
        tokens.append(sessions.begin(made)[0])
    assert [sessions.find(token) is not None for token in tokens] == [False, False, True, True, True]
    clock.now += 200
    sessions.begin(made)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
    connection.close()


def test_the_pages_token_is_not_the_sessions():
    assert csrf_token("a") != csrf_token("b") and "a" * 43 not in csrf_token("a" * 43)


def test_writers_in_many_threads_lose_nothing(file):
    def add(n):
        return Keys(AccessFile(file)).add(f"key {n}", "read")[0].id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(add, range(16)))
    assert {key.id for key in Keys(AccessFile(file)).all()} == ids and len(ids) == 16
    assert threading.active_count() < 20
