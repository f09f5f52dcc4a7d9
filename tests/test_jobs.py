"""Jobs: where they are stored, how they are worked off, and that nothing about an erased person stays in them."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import closing

import pytest

from recognizer.core.audit import ACTOR
from recognizer.core.errors import InvalidParameter, JobNotFound, KeyMissing, TooManyJobs
from recognizer.core.settings import Settings
from recognizer.core.vault import Vault, new_key
from recognizer.database.connection import Database
from recognizer.jobs import job_store
from recognizer.jobs.job_file import JOBS_FILE, JobFile
from recognizer.jobs.job_model import DONE, FAILED, LISTING, PHOTO_DONE, PHOTO_FAILED, RUNNING, JobPhoto
from recognizer.jobs.job_sources import PrefixFiles, checked_prefix
from recognizer.jobs.job_store import JobStore, names_in
from recognizer.jobs.job_tables import JobTables

from .streams import wait_for

FACES = {"faces": [{"subject": "Ada", "distance": 0.5, "candidates": [{"subject": "Ada"}, {"subject": "Bob"}]}]}


@pytest.fixture(params=["file", "encrypted file", pytest.param("database", marks=pytest.mark.network)])
def store(request, tmp_path):
    vault = None if request.param == "file" else Vault([new_key()])
    if request.param == "database":
        with closing(Database(request.getfixturevalue("database_url"))) as database:
            yield JobTables(database, vault)
        return
    with closing(JobFile(tmp_path / JOBS_FILE, vault)) as made:
        yield made


def urls(count: int, subject: str | None = None) -> list[JobPhoto]:
    return [JobPhoto({"url": f"http://example.org/{n}.jpg"}, subject=subject) for n in range(count)]


def finish(store: JobStore, content: dict, worker: str = "w", state: str = PHOTO_DONE) -> bool:
    taken = store.take(worker)
    return store.finish(taken, worker, state, content, names_in(content))


# --- what is stored ----------------------------------------------------------------------------------------------------


def test_a_job_is_stored_taken_and_finished(store):
    made = store.add("recognize", "key:abc", urls(2), options={"top_k": 3})
    assert (made.state, made.photos, made.options, made.actor) == (RUNNING, 2, {"top_k": 3}, "key:abc")
    first = store.take("w")
    assert first.place == 0 and first.photo.source == {"url": "http://example.org/0.jpg"} and first.attempts == 1
    assert store.get(made.id).begun is not None
    second = store.take("another")
    assert second.place == 1 and store.take("w") is None  # each has one
    assert not store.finish(second, "w", PHOTO_DONE, {})  # it is another's
    assert store.finish(second, "another", PHOTO_FAILED, {"code": "no", "message": "no"})
    assert store.get(made.id).state == RUNNING and store.counts() == {
        **dict.fromkeys((LISTING, DONE, FAILED), 0),
        RUNNING: 1,
        "waiting": 1,
    }
    assert store.finish(first, "w", PHOTO_DONE, {"faces": []})
    ended = store.get(made.id)
    assert (ended.state, ended.done, ended.failed) == (DONE, 1, 1) and ended.ended >= ended.begun
    assert [(each.place, each.state) for each in store.results(made.id)] == [(0, PHOTO_DONE), (1, PHOTO_FAILED)]
    assert [each.place for each in store.results(made.id, after=0)] == [1] and store.results(made.id, limit=1)[0].place == 0


def test_what_a_worker_that_ended_took_is_taken_by_others(store, monkeypatch):
    store.add("recognize", "local", urls(1))
    monkeypatch.setattr(job_store, "LEASE", -1.0)  # over at once
    assert store.take("dead").attempts == 1
    again = store.take("w")
    assert again.attempts == 2 and again.place == 0
    monkeypatch.setattr(job_store, "LEASE", 60.0)
    store.renew("w")
    assert store.take("third") is None
    store.release("w")
    assert store.take("third").attempts == 2  # as if it had not been begun


def test_small_jobs_do_not_wait_for_large_ones(store):
    large, small = store.add("detect", "local", urls(50)), store.add("detect", "local", urls(1))
    assert {store.take("w").job.id for _ in range(2)} == {large.id, small.id}


def test_a_deleted_job_is_gone_with_what_workers_have_of_it(store):
    made = store.add("recognize", "local", [JobPhoto({"upload": 0}, b"photo" * 100)])
    assert store.waiting_bytes() == 500
    taken = store.take("w")
    assert taken.photo.photo == b"photo" * 100 and store.has(taken, "w")
    assert store.remove(made.id) and not store.remove(made.id)
    assert not store.has(taken, "w") and not store.finish(taken, "w", PHOTO_DONE, FACES, {"Ada"})
    assert store.get(made.id) is None and store.all() == [] and store.find("Ada") == 0 and store.waiting_bytes() == 0


def test_old_jobs_are_deleted_and_young_and_running_ones_are_not(store):
    store.add("detect", "local", urls(1))
    finish(store, {})
    running = store.add("detect", "local", urls(1))
    assert store.purge(3600) == 0 and len(store.all()) == 2
    assert store.purge(-1) == 1 and [each.id for each in store.all()] == [running.id]


def test_photos_below_a_prefix_are_added_once(store):
    made = store.add("enroll", "local", [], prefix="s3://bucket/x")
    assert made.state == LISTING and store.take("w") is None
    listing = store.take_listing("w")
    assert listing.prefix == "s3://bucket/x" and store.take_listing("other") is None
    store.listed(made, "other", urls(3))  # whose lease it is not
    assert store.get(made.id).photos == 0
    store.listed(made, "w", urls(3))
    assert store.get(made.id).photos == 3 and store.get(made.id).state == RUNNING
    empty = store.add("detect", "local", [], prefix="s3://bucket/y")
    store.listed(store.take_listing("w"), "w", [])
    assert store.get(empty.id).state == DONE
    lost = store.add("detect", "local", [], prefix="s3://bucket/z")
    store.fail(store.take_listing("w"), "storage_error", "no bucket")
    assert store.get(lost.id).state == FAILED and store.get(lost.id).error == {"code": "storage_error", "message": "no bucket"}


# --- one person --------------------------------------------------------------------------------------------------------


def test_results_about_somebody_are_found_exported_renamed_and_erased(store):
    made = store.add("recognize", "local", urls(2))
    assert finish(store, FACES) and finish(store, {"faces": [{"subject": None}]})
    assert store.find("Ada") == store.find("Bob") == 1 and store.find("Eve") == 0
    (exported,) = store.export("Ada")
    assert exported["faces"][0]["subject"] == "Ada" and exported["source"] == {"url": "http://example.org/0.jpg"}
    store.rename("Ada", "Eve")
    assert store.find("Ada") == 0 and store.find("Eve") == 1
    (face,) = store.results(made.id)[0].content["faces"]
    assert face["subject"] == "Eve" and face["candidates"] == [{"subject": "Eve"}, {"subject": "Bob"}]
    store.erase("Eve")
    (face,) = store.results(made.id)[0].content["faces"]
    assert face == {"subject": None, "distance": None, "false_match_rate": None, "candidates": [{"subject": "Bob"}]}
    assert store.find("Eve") == 0 and store.find("Bob") == 1


def test_whom_a_job_was_to_enrol_is_not_enrolled_after_an_erasure(store):
    made = store.add("enroll", "local", [*urls(2, "Ada"), JobPhoto({"upload": 2}, b"bytes", "Ada"), *urls(1, "Bob")])
    assert finish(store, {"subject": "Ada", "photo": "p"})
    taken = store.take("w")
    store.rename("Ada", "Eve")
    assert store.find("Ada") == 0 and store.find("Eve") == 3
    store.erase("Eve")
    assert not store.has(taken, "w") and store.find("Eve") == 0 and store.waiting_bytes() == 0
    left = store.get(made.id)
    assert (left.done, left.failed, left.state) == (1, 2, RUNNING)
    assert [each.content for each in store.results(made.id)][1:] == 2 * [{"code": "erased", "message": "the person was erased"}]
    assert store.results(made.id)[0].content == {"erased": True}
    assert store.take("w").photo.subject == "Bob" and store.take("w") is None


def test_a_result_from_before_an_erasure_is_not_stored(store):
    store.add("recognize", "local", urls(1))
    taken = store.take("w")
    store.erase("Ada")
    assert not store.finish(taken, "w", PHOTO_DONE, FACES, {"Ada", "Bob"})
    again = store.take("w")
    assert again.attempts == 1 and store.finish(again, "w", PHOTO_DONE, FACES, {"Bob"})


def test_a_message_that_names_somebody_forgets_the_name(store):
    made = store.add("enroll", "local", urls(1, "Ada"))
    refused = {"code": "looks_like_another", "message": "this face looks like 'Bob'", "subject": "Bob"}
    assert finish(store, refused, state=PHOTO_FAILED)
    store.rename("Bob", "Rob")
    assert store.results(made.id)[0].content["message"] == "this face looks like 'Rob'"
    store.erase("Rob")
    assert "Rob" not in str(store.results(made.id))


def test_people_of_groups_are_told_apart(store):
    for group in (None, "staff"):
        store.add("recognize", "local", urls(1), group=group)
    finish(store, FACES)
    finish(store, FACES)
    assert store.find("Ada") == store.find("staff/Ada") == 1
    store.erase("staff/Ada")
    assert store.find("Ada") == 1 and store.find("staff/Ada") == 0


# --- encryption and erasure on the disk --------------------------------------------------------------------------------


def everything(folder) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob(JOBS_FILE + "*"))


def test_an_encrypted_file_shows_neither_names_nor_photos_nor_urls(tmp_path):
    for vault, shown in ((None, True), (Vault([new_key()]), False)):
        folder = tmp_path / str(shown)
        with closing(JobFile(folder / JOBS_FILE, vault)) as store:
            store.add("enroll", "key:abc", [JobPhoto({"url": "http://zebulon/"}, b"picture of her", "Ada Zebulon")])
            assert [each in everything(folder) for each in (b"Zebulon", b"picture of her", b"http://zebulon")] == 3 * [shown]
            assert finish(store, {"faces": [{"subject": "Ada Zebulon"}]})
            assert (b"Zebulon" in everything(folder)) is shown
            store.erase("Ada Zebulon")
            assert b"ebulon" not in everything(folder) and b"picture of her" not in everything(folder)


def test_jobs_are_encrypted_anew_and_decrypted(tmp_path):
    path, keys = tmp_path / JOBS_FILE, [new_key(), new_key()]
    with closing(JobFile(path)) as store:
        made = store.add("enroll", "local", [JobPhoto({"upload": 0}, b"bytes", "Ada"), JobPhoto({"upload": 1}, b"more", "Bob")])
        finish(store, {"subject": "Ada"})
    for vault in (Vault(keys[:1]), Vault([keys[1], keys[0]]), Vault(keys[1:])):
        with closing(JobFile(path, vault)) as store:
            assert store.find("Ada") == store.find("Bob") == 1 and store.results(made.id)[0].content == {"subject": "Ada"}
    with pytest.raises(KeyMissing):
        JobFile(path)
    with closing(JobFile(path, Vault(keys[1:]))) as store:
        store.decrypt()
    with closing(JobFile(path)) as store:
        assert store.take("w").photo == JobPhoto({"upload": 1}, b"more", "Bob") and store.get(made.id).actor == "local"
    assert sqlite3.connect(path).execute("SELECT subject FROM job_photo ORDER BY place").fetchall() == [("Ada",), ("Bob",)]


# --- where photos may come from ----------------------------------------------------------------------------------------


def test_only_prefixes_of_the_setting_are_read():
    allowed = ("s3://bucket/photos", "file:///srv/photos/")
    assert checked_prefix("S3://bucket/photos/2026/", allowed) == "s3://bucket/photos/2026/"
    assert checked_prefix("file:///srv/photos", allowed) == "file:///srv/photos"
    for each in (
        *("s3://bucket/photos2", "s3://bucket", "s3://other/photos", "file:///srv/photos/../secret", "/srv/photos"),
        *("file:///srv/photos/./x", "zip://x::file:///srv/photos/x.zip", "s3://bucket/photos/*", "https://bucket/photos"),
    ):
        with pytest.raises(InvalidParameter, match="prefix: expected"):
            checked_prefix(each, allowed)
    with pytest.raises(InvalidParameter, match="RECOGNIZER_JOBS_FROM"):
        checked_prefix("s3://bucket/photos", ())


def test_files_below_a_folder_are_listed_and_read(tmp_path):
    pytest.importorskip("fsspec")
    from recognizer.core.errors import ImageTooLarge, StorageError, UnreadableImage

    root, url = tmp_path / "photos", f"file://{tmp_path}/photos"
    (root / "Ada").mkdir(parents=True)
    for name in ("Ada/ä b%20.jpg", "z.png", ".hidden.jpg", "notes.txt"):
        (root / name).write_bytes(b"x" * 10)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    files = PrefixFiles(url, (url,))
    assert files.paths(10) == ["Ada/ä b%20.jpg", "link.jpg", "z.png"] and len(files.paths(1)) == 2
    assert files.read("Ada/ä b%20.jpg", 10) == b"x" * 10
    with pytest.raises(ImageTooLarge):
        files.read("z.png", 9)
    for path in ("link.jpg", "../secret.jpg", "missing.jpg"):
        with pytest.raises(UnreadableImage):
            files.read(path, 100)
    with pytest.raises(StorageError, match="does not exist"):
        PrefixFiles(url + "/missing", (url,)).paths(10)


# --- worked off --------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(settings, tmp_path) -> Settings:
    jobs = {"jobs_from": (f"file://{tmp_path}/photos",), "job_photos": 5, "job_bytes": 3_000_000}
    return settings.replace(workers=2, **jobs)


def ended(service, job):
    return wait_for(lambda: (found := service.jobs.get(job.id)).ended and found)


@pytest.mark.slow
def test_photos_are_recognised_enrolled_and_erased_in_the_background(service, faces, tmp_path):
    jobs, (obama, biden) = service.jobs, (faces["obama"], faces["biden"])
    assert not jobs.exists and jobs.counts() is None  # nothing is made before the first job
    jobs.start()
    ACTOR.set("key:abc")
    people = [
        JobPhoto({"upload": 0}, obama, "Ada"),
        JobPhoto({"upload": 1}, biden, "Bob"),
        JobPhoto({"upload": 2}, b"text", "B"),
    ]
    enrolled = ended(service, jobs.add("enroll", people))
    assert (enrolled.done, enrolled.failed) == (2, 1)
    results = jobs.results(enrolled.id)
    assert results[0].content["subject"] == "Ada" and results[0].content["status"] == "added"
    assert results[2].content["code"] == "unsupported_image"
    assert [person.name for person in service.subjects.all()] == ["Ada", "Bob"]
    lines = service.audit_page(action="enroll")["lines"]
    assert {(line["actor"], line["details"].get("job")) for line in lines} == {("key:abc", enrolled.id)}
    seen = ended(service, jobs.add("recognize", [JobPhoto({"upload": 0}, obama)], options={"top_k": 2}))
    direct = service.recognition.recognize(obama, top_k=2)
    (face,) = jobs.results(seen.id)[0].content["faces"]
    assert face["subject"] == "Ada" == direct.faces[0].subject and len(face["candidates"]) == 2 and "landmarks" not in face
    found = ended(service, jobs.add("detect", [JobPhoto({"upload": 0}, obama)], options={"landmarks": "5"}))
    (face,) = jobs.results(found.id)[0].content["faces"]
    assert "subject" not in face and "left_eye" in face["landmarks"]
    counts = service.subjects.export("Ada", tmp_path / "ada.zip")
    assert counts["job_results"] == 2
    assert service.subjects.delete("Ada")["left"]["jobs"] == 0
    assert "Ada" not in str([jobs.results(each.id) for each in jobs.all()])
    assert jobs.counts() == {
        "listing": 0,
        "running": 0,
        "done": 3,
        "failed": 0,
        "waiting": 0,
        "photos_done": 4,
        "photos_failed": 1,
    }


@pytest.mark.slow
def test_folders_of_a_prefix_name_the_people(service, faces, tmp_path):
    pytest.importorskip("fsspec")
    for path, photo in (("Ada/1.jpg", "obama"), ("people/Bob/1.jpg", "biden"), ("loose.jpg", "collins")):
        place = tmp_path / "photos" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(faces[photo])
    service.jobs.start()
    prefix = f"file://{tmp_path}/photos"
    done = ended(service, service.jobs.add("enroll", prefix=prefix))
    assert (done.photos, done.done, done.failed) == (3, 2, 1) and service.gallery.subjects() == {"Ada": 1, "Bob": 1}
    results = {each.source["path"]: each for each in service.jobs.results(done.id)}
    assert results["loose.jpg"].content["code"] == "invalid_name"
    for number in range(9):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(b"x")
    many = ended(service, service.jobs.add("detect", prefix=prefix))
    assert many.state == FAILED and "at most 5 photos" in many.error["message"]
    gone = ended(service, service.jobs.add("detect", prefix=prefix + "/missing"))
    assert gone.state == FAILED and gone.error == {"code": "storage_error", "message": "the prefix does not exist"}


@pytest.mark.slow
def test_what_a_job_may_ask_is_checked_when_it_is_made(service):
    one = [JobPhoto({"upload": 0}, b"x")]
    for operation, photos, more, message in (
        ("recognize", [], {}, "expected photos"),
        ("recognize", 6 * one, {}, "at most 5 photos"),
        ("recognize", one, {"prefix": "file:///etc"}, "got both"),
        ("detect", [], {"prefix": "file:///etc"}, "RECOGNIZER_JOBS_FROM"),
        ("detect", one, {"options": {"top_k": 1}}, "top_k: not for the operation detect"),
        ("recognize", one, {"options": {"threshold": 9}}, "threshold: expected"),
        ("recognize", [JobPhoto({}, b"x", "Ada")], {}, "subject: only"),
        ("enroll", one, {}, "subject: expected a name"),
        ("enroll", one, {"options": {"subject": "Ada", "face": "any"}}, "face"),
    ):
        with pytest.raises(InvalidParameter, match=message):
            service.jobs.add(operation, photos, **more)
    assert service.jobs.all() == []
    service.jobs.add("detect", [JobPhoto({"upload": 0}, b"x" * 2_999_999)])
    with pytest.raises(TooManyJobs, match="3000000 bytes"):
        service.jobs.add("detect", [JobPhoto({"upload": 0}, b"xy")])
    made = service.jobs.add("detect", [JobPhoto({"upload": 0}, b"x")])
    assert service.jobs.get(made.id) == made
    service.jobs.remove(made.id)
    with pytest.raises(JobNotFound):
        service.jobs.get(made.id)
    with pytest.raises(JobNotFound):
        service.jobs.remove(made.id)
    assert [line["action"] for line in service.audit_page()["lines"]][-2:] == ["job_add", "job_delete"]


@pytest.mark.slow
def test_jobs_take_no_more_than_their_share_and_let_requests_go_first(service, monkeypatch):
    """Of two workers one is left to requests, and while requests have both, jobs wait."""
    at_once, most, let = [0], [0], threading.Event()

    def slowly(photo, **_):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        let.wait(10)
        at_once[0] -= 1
        raise InvalidParameter("enough")

    monkeypatch.setattr(service.recognition, "detect", slowly)
    busy = [1]
    monkeypatch.setattr(type(service.pool), "inside", property(lambda pool: 2 if busy else 0))
    monkeypatch.setattr("recognizer.service.job_service.PATIENCE", 3600.0)
    service.jobs.start()
    job = service.jobs.add("detect", 4 * [JobPhoto({"upload": 0}, b"x")])
    wait_for(lambda: service.jobs.get(job.id).begun)
    time.sleep(0.1)  # nothing begins although there is work
    assert most == [0]
    busy.clear()
    wait_for(lambda: at_once == [1])
    let.set()
    assert ended(service, job).failed == 4 and most == [1]


@pytest.mark.slow
def test_photos_of_jobs_take_no_worker_of_requests_and_leave_them_the_processor(service, faces, monkeypatch):
    engine, seen = service.engine, []
    whole = type(engine).find_with_image

    def noted(self, *args, **kwargs):
        seen.append((threading.current_thread().name, service.pool.inside, os.getpriority(os.PRIO_PROCESS, 0)))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(type(engine), "find_with_image", noted)
    service.jobs.start()
    for operation, subject in (("recognize", None), ("enroll", "Ada")):
        job = service.jobs.add(operation, [JobPhoto({"upload": 0}, faces["obama"], subject)])
        assert ended(service, job).done == 1
    assert len(seen) == 2 and all(name.startswith("jobs-") and inside == 0 for name, inside, _ in seen)
    if sys.platform == "linux":
        assert all(niceness > os.getpriority(os.PRIO_PROCESS, os.getpid()) for _, _, niceness in seen)


@pytest.mark.slow
def test_somebody_who_is_erased_while_the_photo_is_examined_is_not_enrolled(service, faces, monkeypatch):
    examine, begun, let = service.subjects._examine, threading.Event(), threading.Event()

    def slowly(*args):
        begun.set()
        let.wait(10)
        return examine(*args)

    monkeypatch.setattr(service.subjects, "_examine", slowly)
    service.jobs.start()
    job = service.jobs.add("enroll", [JobPhoto({"upload": 0}, faces["obama"], "Ada")])
    assert begun.wait(10)
    assert service.subjects.delete("Ada")["left"]["jobs"] == 0
    let.set()
    assert ended(service, job).failed == 1
    wait_for(lambda: service.pool.inside == 0)
    assert service.subjects.all() == [] and not (service.settings.known_faces / "Ada").exists()
