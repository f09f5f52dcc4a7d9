"""The OpenAPI document held against the server: by schemathesis, which makes up requests, and with real photos."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from .. import fuzz
from .serving import BIN, Server

#: Requests that are made up for each operation, besides those that try each edge of its schema once.
EXAMPLES = 6 * fuzz.factor()
SECONDS = 600


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces):
    server = Server(tmp_path_factory.mktemp("openapi"), fetch_timeout=1, camera="none")
    server.put("Joe Biden/one.jpg", faces["biden"])
    server.put("Barack Obama/one.jpg", faces["obama"])
    server.put("Barack Obama/two.jpg", faces["nobody"])
    with server:
        yield server


@pytest.fixture(scope="module")
def document(server) -> dict:
    reply = server.get("/openapi.json")
    assert reply.headers["Content-Type"] == "application/json"
    return reply.json()


def check(document: dict, reply, operation: str, kind: str = "application/json"):
    """Fail unless the document foresees this reply."""
    jsonschema = pytest.importorskip("jsonschema")
    method, path = operation.split(" ")
    told = document["paths"][path][method.lower()]["responses"][str(reply.status_code)]["content"]
    assert reply.headers["Content-Type"].split(";")[0] == kind and kind in told
    if kind == "application/json":
        schema = {**told[kind]["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(reply.json())


def test_replies_about_real_photos_are_as_the_document_says(server, document, faces):
    trio, face = faces["trio"], faces["obama2"]
    for query in ("", "?top_k=5&landmarks=68", "?landmarks=5&threshold=0"):
        check(document, server.post(f"/recognize{query}", data=trio), "POST /recognize")
    check(document, server.post("/recognize?format=jpeg", data=trio), "POST /recognize", "image/jpeg")
    check(document, server.post("/recognize", data=faces["nobody"]), "POST /recognize")
    check(document, server.post("/recognize", data=b"no photo"), "POST /recognize")
    check(document, server.get("/recognize?image_url=ftp://x/"), "GET /recognize")
    check(document, server.get("/recognize?image_url=http://10.0.0.1/"), "GET /recognize")
    check(document, server.post("/detect", data=trio), "POST /detect")
    check(document, server.post("/detect?landmarks=68", data=trio), "POST /detect")
    files = [("file", face), ("other", trio)]
    check(document, server.post("/verify", files=files), "POST /verify")
    check(document, server.post("/verify?subject=Barack Obama", data=face), "POST /verify")
    check(document, server.post("/verify?subject=Nobody", data=face), "POST /verify")
    check(document, server.post("/verify", files=[("file", faces["nobody"]), ("other", trio)]), "POST /verify")


def test_replies_about_people_are_as_the_document_says(server, document, faces):
    check(document, server.enroll("Joe Biden", faces["obama2"]), "POST /enroll")  # who looks like another
    check(document, server.enroll("Joe Biden", faces["obama2"], force="true"), "POST /enroll")
    check(document, server.enroll("Joe Biden", faces["obama2"], force="true"), "POST /enroll")
    check(document, server.enroll("New One", faces["collins"], faces["nobody"]), "POST /enroll")
    check(document, server.enroll("New One", faces["nobody"], faces["nobody"]), "POST /enroll")
    check(document, server.enroll("../x", faces["collins"]), "POST /enroll")
    check(document, server.get("/people"), "GET /people")
    person = server.get("/people/Barack Obama")  # with a photo that is not used
    check(document, person, "GET /people/{person}")
    check(document, server.get("/people/Nobody"), "GET /people/{person}")
    check(document, server.get("/people/a%2Fb"), "GET /people/{person}")
    photo = server.get("/people/New One").json()["photos"][0]
    for link in (photo["url"], photo["thumbnail"]):
        check(document, server.get(link), "GET /people/{person}/photos/{photo_id}", "image/jpeg")
    check(document, server.get(photo["url"] + "/quality"), "GET /people/{person}/photos/{photo_id}/quality")
    check(document, server.get("/people/New One/photos/0/quality"), "GET /people/{person}/photos/{photo_id}/quality")
    check(document, server.request("PATCH", "/people/New One?name=Joe Biden"), "PATCH /people/{person}")
    check(document, server.request("PATCH", "/people/New One", json={"name": "Newer"}), "PATCH /people/{person}")
    gone = server.request("DELETE", photo["url"].replace("New%20One", "Newer"))
    check(document, gone, "DELETE /people/{person}/photos/{photo_id}")
    check(document, server.request("DELETE", "/people/Newer"), "DELETE /people/{person}")
    server.put("nobodys.jpg", faces["collins"])
    check(document, server.get("/unsorted/nobodys.jpg"), "GET /unsorted/{unsorted}", "image/jpeg")
    for _ in range(2):
        check(document, server.request("DELETE", "/unsorted/nobodys.jpg"), "DELETE /unsorted/{unsorted}")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/cameras", {"source": "test:", "name": False}),
        ("/cameras", {"source": 0}),
        ("/enroll", {"subject": True}),
        ("/recognize", {"top_k": 1.5}),
        ("/recognize", {"top_k": True}),
        ("/recognize", {"threshold": False}),
        ("/recognize", {"image_url": 5}),
        ("/enroll", {"subject": "x", "force": "perhaps"}),
    ],
)
def test_json_of_another_type_is_not_made_into_something(server, path, fields):
    reply = server.post(path, json=fields)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_parameter")


#: Content types of what a page is made of, by extension.
KINDS = {
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}


def test_replies_about_the_server_are_as_the_document_says(server, document):
    for path in ("/", "/docs/hug", "/health", "/health/live", "/health/ready", "/openapi.json", "/cameras", "/objects/labels"):
        check(document, server.get(path), f"GET {path}")
    check(document, server.get("/metrics"), "GET /metrics", "text/plain")
    page = server.get("/", headers={"Accept": "text/html"})
    check(document, page, "GET /", "text/html")
    check(document, server.get("/docs"), "GET /docs", "text/html")
    for link in set(re.findall(r"web/[\w/.-]+", page.text)):
        kind = KINDS[link.rpartition(".")[2]]
        check(document, server.get(f"/{link}"), "GET /web/{version}/{asset}", kind)
    check(document, server.get("/web/other/app.js"), "GET /web/{version}/{asset}")


def test_replies_about_cameras_are_as_the_document_says(server, document):
    added = server.post("/cameras", json={"source": "test:", "name": "Pattern"})
    check(document, added, "POST /cameras")
    camera = f"/cameras/{added.json()['id']}"
    check(document, server.get(f"{camera}/snapshot.jpg"), "GET /cameras/{camera}/snapshot.jpg", "image/jpeg")
    check(document, server.get("/cameras/none/snapshot.jpg"), "GET /cameras/{camera}/snapshot.jpg")
    with requests.get(f"{server.url}{camera}/stream", stream=True, timeout=60) as stream:
        check(document, stream, "GET /cameras/{camera}/stream", "multipart/x-mixed-replace")
    check(document, server.get("/stream"), "GET /stream")  # there is no default camera here
    server.wait_for(lambda: server.get("/events?format=json").json()["events"])  # that the camera is live
    check(document, server.get("/events?format=json"), "GET /events")
    check(document, server.get("/events?format=json&kind=nothing"), "GET /events")
    found = server.get("/events?format=json").json()["last"]
    check(document, server.get(f"/events/{found}"), "GET /events/{event}")
    check(document, server.get("/events/999999"), "GET /events/{event}")
    check(document, server.get("/events/0"), "GET /events/{event}")
    check(document, server.get(f"/events/{found}/thumbnail.jpg"), "GET /events/{event}/thumbnail.jpg")
    told = server.get("/metrics").text
    assert f'recognizer_camera_frames_read_total{{camera="{added.json()["id"]}"}}' in told
    assert "recognizer_events_dropped_total 0.0" in told and "recognizer_events_total 0.0" not in told
    check(document, server.get("/health"), "GET /health")
    check(document, server.request("HEAD", "/events"), "GET /events", "text/event-stream")
    check(document, server.request("DELETE", camera), "DELETE /cameras/{camera}")


def lenient(asked: Any) -> Any:
    """What an operation takes, with what it takes besides: 1 and 0 for a switch, and text for a choice of numbers. The document
    leaves these out, for the sake of generated clients."""
    if isinstance(asked, list):
        return [lenient(each) for each in asked]
    if not isinstance(asked, dict):
        return asked
    kinds = asked.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if "boolean" in kinds:
        return {**asked, "type": [*kinds, "integer"], "enum": [True, False, 1, 0, *([None] if "null" in kinds else [])]}
    if "integer" in kinds and "enum" in asked:
        texts = [str(each) for each in asked["enum"] if each is not None]
        return {**asked, "type": [*kinds, "string"], "enum": [*asked["enum"], *texts]}
    return {name: value if name == "example" else lenient(value) for name, value in asked.items()}


def test_schemathesis_finds_nothing(server, document, tmp_path):
    """Fuzzing, every edge of every schema, and calls that follow from each other; no reply may surprise it."""
    command = BIN / "schemathesis"
    if not command.exists():
        pytest.skip("schemathesis is not installed (requirements-dev.txt)")
    document = copy.deepcopy(document)
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        operation |= {name: lenient(operation[name]) for name in ("parameters", "requestBody") if name in operation}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    done = subprocess.run(
        [
            command,
            "--config-file",
            Path(__file__).with_name("schemathesis.toml"),
            "run",
            tmp_path / "openapi.json",
            "--url",
            server.url,
            "--max-examples",
            str(EXAMPLES),
            "--seed",
            "1",
            "--no-color",
            "--generation-database",
            "none",
            "--warnings",
            "off",
            "--continue-on-failure",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert server.get("/health").status_code == 200
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    "path", ["/", "/health", "/health/live", "/people", "/people/Barack Obama", "/people/Nobody", "/metrics", "/nothing"]
)
def test_head_is_get_without_the_body(server, path):
    got, head = server.get(path), server.request("HEAD", path)
    assert head.status_code == got.status_code and not head.content
    for name in ("Content-Type", "Cache-Control"):
        assert head.headers[name] == got.headers[name]
    if path not in ("/metrics", "/health"):  # which change
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_head_where_there_is_no_get_and_methods_that_nobody_knows(server):
    for method, path, allowed in (
        ("HEAD", "/detect", {"POST"}),
        ("BREW", "/people", {"GET", "HEAD"}),
        ("QUERY", "/detect", {"POST"}),
    ):
        reply = server.request(method, path)
        assert reply.status_code == 405
        assert {name.strip() for name in reply.headers["Allow"].split(",")} - {"OPTIONS"} == allowed
    assert server.request("BREW", "/nothing").status_code == 404


def test_options_says_what_is_possible(server):
    reply = server.request("OPTIONS", "/people/Joe Biden")
    assert reply.status_code in (200, 204)
    assert {"GET", "HEAD", "PATCH", "DELETE"} <= {name.strip() for name in reply.headers["Allow"].split(",")}
