"""Jobs over HTTP: made, watched, read, deleted; and worked off although the server is killed."""

from __future__ import annotations

import json
import threading

import pytest

from .serving import Server, altered, code
from .web import Web


def ended(server: Server, job: str) -> dict:
    return server.wait_for(lambda: (found := server.get(f"/jobs/{job}").json())["ended"] and found)


def test_a_batch_of_urls_and_uploads_is_recognised(writer, faces, web):
    writer.enrol_only({"Barack Obama": [faces["obama"]]})
    urls = [web.url("/jobs/1.jpg", faces["obama2"]), {"url": web.url("/jobs/none.jpg", 404), "id": "mine"}]
    made = writer.post("/jobs", json={"operation": "recognize", "image_urls": urls, "top_k": 1})
    assert made.status_code == 202, made.text
    shown = made.json()
    assert shown["state"] == "running" and shown["photos"] == 2
    job = ended(writer, shown["id"])
    assert (job["state"], job["done"], job["failed"], job["waiting"], job["progress"]) == ("done", 1, 1, 0, 1.0)
    page = writer.get(f"{shown['result']}?limit=1").json()
    (first,) = page["photos"]
    assert page["after"] == 0 and first["source"] == {"url": urls[0]}
    assert first["result"]["faces"][0]["subject"] == "Barack Obama" and first["result"]["faces"][0]["candidates"]
    rest = writer.get(f"{shown['result']}?after=0").json()
    assert rest["after"] is None and rest["photos"][0]["source"]["id"] == "mine"
    assert rest["photos"][0]["error"]["code"] == "fetch_failed"
    lines = writer.get(shown["result"], headers={"Accept": "application/x-ndjson"})
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == [first, *rest["photos"]]
    files = [("file", ("1.jpg", faces["biden"])), ("file", ("2.jpg", faces["obama3"]))]
    uploaded = writer.post("/jobs", data={"operation": "enroll", "subject": "Joe Biden", "force": "true"}, files=files).json()
    assert ended(writer, uploaded["id"])["done"] == 2 and writer.people()["Joe Biden"]["photos"] == 2
    assert [each["id"] for each in writer.get("/jobs?limit=2").json()["jobs"]] == [uploaded["id"], shown["id"]]
    assert writer.get("/health").json()["jobs"]["done"] >= 2
    assert 'recognizer_job_photos_total{outcome="done"}' in writer.get("/metrics").text
    assert writer.request("DELETE", f"/jobs/{shown['id']}").json() == {"deleted": shown["id"]}
    for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
        gone = writer.request(method, f"/jobs/{shown['id']}{path}")
        assert (gone.status_code, code(gone)) == (404, "job_not_found")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"operation": "guess", "image_urls": ["http://x"]}, "operation"),
        ({"operation": "detect"}, "expected photos"),
        ({"operation": "detect", "image_urls": [1]}, "image_urls"),
        ({"operation": "detect", "image_urls": [{"url": "http://x", "name": "y"}]}, "image_urls"),
        ({"operation": "detect", "image_urls": ["ftp://x/y"]}, ""),
        ({"operation": "detect", "image_urls": ["http://x"], "subject": "Ada"}, "subject: not for"),
        ({"operation": "detect", "prefix": "file:///etc"}, "RECOGNIZER_JOBS_FROM"),
        ({"operation": "enroll", "image_urls": ["http://x"]}, "subject"),
        ({"operation": "enroll", "image_urls": [{"url": "http://x", "subject": "../x"}]}, ""),
    ],
)
def test_a_job_that_cannot_be_is_refused_when_it_is_made(writer, body, words):
    reply = writer.post("/jobs", json=body)
    assert reply.status_code == 400 and words in reply.json()["error"]["message"]


def test_thousands_of_urls_fit_into_one_request(writer):
    urls = [f"http://127.0.0.1:1/{n:0100d}.jpg" for n in range(5_000)]
    made = writer.post("/jobs", json={"operation": "detect", "image_urls": urls})
    assert made.status_code == 202 and made.json()["photos"] == 5_000
    assert writer.request("DELETE", f"/jobs/{made.json()['id']}").status_code == 200
    assert writer.post("/people", json={"name": "x" * 70_000}).status_code in (404, 405, 413)


def test_a_job_survives_a_killed_server(tmp_path, faces):
    hold = threading.Event()

    def slow(handler) -> None:
        hold.wait(60)
        handler.reply(faces["obama"])

    quick = altered("from recognizer.jobs import job_store\njob_store.LEASE = 2.0")
    with Web() as web, Server(tmp_path, quick, camera="none", workers=2) as server:
        urls = [web.url(f"/{n}.jpg", slow if n else faces["biden"]) for n in range(12)]
        job = server.post("/jobs", json={"operation": "detect", "image_urls": urls}).json()["id"]
        server.wait_for(lambda: server.get(f"/jobs/{job}").json()["done"] == 1)
        server.process.kill()  # while some are fetched
        server.process.wait()
        server.process = None
        hold.set()
        server.start()
        found = ended(server, job)
        assert (found["done"], found["failed"]) == (12, 0)
        photos = server.get(f"/jobs/{job}/result").json()["photos"]
        assert [each["number"] for each in photos] == list(range(12)) and all(each["result"]["faces"] for each in photos)
