"""A small file that several processes share."""

from __future__ import annotations

import stat

import pytest

from recognizer.core.errors import KeyMissing, SealBroken, StorageError
from recognizer.core.sealed_file import SealedFile
from recognizer.core.vault import Vault, new_key

VAULT = Vault([new_key()])


@pytest.mark.parametrize("vault", [None, VAULT], ids=["plain", "sealed"])
def test_what_one_writes_another_reads(tmp_path, vault):
    path = tmp_path / "state" / "some.json"
    one, other = (SealedFile(path, "the words", "words", vault) for _ in range(2))
    assert other.changed() and other.missing
    for content in (b"first", b"second and longer", b"third"):
        with one.held():
            one.write(content)
        assert other.changed() and not other.missing and other.read() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and (b"third" in path.read_bytes()) is (vault is None)


def test_without_the_key_or_for_another_purpose_it_is_not_read(tmp_path):
    path = tmp_path / "some.json"
    SealedFile(path, "the words", "words", VAULT).write(b"secret")
    with pytest.raises(KeyMissing, match="^the words are encrypted"):
        SealedFile(path, "the words", "words").read()
    with pytest.raises(SealBroken):
        SealedFile(path, "the words", "others", VAULT).read()


def test_a_disk_that_refuses_is_reported(tmp_path):
    path = tmp_path / "some.json"
    path.mkdir()
    file = SealedFile(path, "the words", "words")
    with pytest.raises(StorageError, match="^the words cannot be read"):
        file.read()
    with pytest.raises(StorageError, match="^the words cannot be stored"), file.held():
        file.write(b"content")
