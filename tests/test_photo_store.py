"""Where nodes store photos: the same promises of a folder and of a bucket on a real S3 server, moto's."""

from __future__ import annotations

import os
import threading

import pytest

from recognizer.core.errors import ImageTooLarge, SealBroken, SettingsError, StorageError
from recognizer.core.vault import Vault, new_key
from recognizer.enrolment.encodings import photo_id
from recognizer.enrolment.photo_store import FolderPhotos, StoredPhotos, open_store

pytestmark = pytest.mark.network


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    if request.param == "folder":
        return open_store(str(tmp_path))
    return open_store(request.getfixturevalue("bucket"))


def test_a_photo_is_stored_once_under_its_id(store):
    photos = [photo_id(bytes([n])) for n in range(2)]
    for photo in photos:
        store.remove(photo)
        with pytest.raises(FileNotFoundError):
            store.get(photo)
        store.put(photo, b"bytes of " + photo.encode())
    store.put(photos[0], b"others, which cannot be")  # the id is a hash of the content: what is there stays
    assert [store.get(photo) for photo in photos] == [b"bytes of " + photo.encode() for photo in photos]
    assert sorted(store.photos()) == sorted(photos)
    store.remove(photos[0])
    store.remove(photos[0])
    assert list(store.photos()) == photos[1:]
    store.remove(photos[1])
    assert list(store.photos()) == []


def put_dropped(store, path: str, data: bytes) -> None:
    """Put a file below `people`, as other programs do."""
    if isinstance(store, FolderPhotos):
        file = store._root / "people" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (1_000_000_000, 1_000_000_000))
    else:
        store._files.pipe_file(f"{store._root}/people/{path}", data)


def test_files_that_are_dropped_beside_the_photos(store):
    assert list(store.dropped()) == []
    put_dropped(store, "Ann Lovelace/ä+1.jpg", b"first")
    put_dropped(store, f".groups/staff/Bob/{photo_id(b'x')}", b"second")
    bob, ann = sorted(store.dropped(), key=lambda each: each.path)
    assert (ann.path, ann.size, bob.size) == ("Ann Lovelace/ä+1.jpg", 5, 6) and list(store.photos()) == []
    assert store.read_dropped(ann.path) == b"first" and store.is_dropped(ann)
    put_dropped(store, ann.path, b"other, larger")
    assert not store.is_dropped(ann)
    store.remove_dropped(ann)  # it is another one now
    (now,) = (each for each in store.dropped() if each.path == ann.path)
    assert now.stamp != ann.stamp and store.read_dropped(now.path) == b"other, larger"
    store.move_dropped(now, "Ada/1.jpg")
    store.move_dropped(now, "Ada/2.jpg")  # which is not there any longer
    store.remove_dropped(bob)
    store.remove_dropped(bob)
    assert [each.path for each in store.dropped()] == ["Ada/1.jpg"]
    with pytest.raises(FileNotFoundError):
        store.read_dropped(now.path)
    store.remove_dropped(now, changed=True)
    (left,) = store.dropped()
    store.remove_dropped(left, changed=True)
    assert list(store.dropped()) == [] and not store.is_dropped(left)


def test_of_many_who_store_one_photo_at_once_each_succeeds(store):
    photo, errors = photo_id(b"many"), []

    def put():
        try:
            store.put(photo, b"many")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and store.get(photo) == b"many"
    store.remove(photo)


@pytest.mark.parametrize("place", ["nowhere/at/all", "s3://no-such-bucket", "nonsense://x"])
def test_a_place_that_is_none_is_refused(place, tmp_path, bucket):
    with pytest.raises(SettingsError, match="photos"):
        open_store(place if "://" in place else str(tmp_path / place))


def test_a_bucket_that_fails_is_a_storage_error(bucket, monkeypatch):
    store = open_store(bucket)
    monkeypatch.setattr(store, "_root", "no-such-bucket/x")
    with pytest.raises(StorageError, match="cannot be stored"):
        store.put(photo_id(b"x"), b"x")


def test_encrypted_photos_belong_to_their_id(store):
    photos = StoredPhotos(store, Vault([new_key()]))
    one, two = photo_id(b"one"), photo_id(b"two")
    photos.put(one, b"one")
    assert photos.get(one, 10) == b"one" and b"one" not in store.get(one)
    store.put(two, store.get(one))
    with pytest.raises(SealBroken):
        photos.get(two, 10)
    with pytest.raises(ImageTooLarge):
        photos.get(one, 1)
    for photo in (one, two):
        photos.remove(photo)
