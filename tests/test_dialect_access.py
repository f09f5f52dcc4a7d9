"""Which dialects are on and where, and how leniently their requests are read."""

from __future__ import annotations

import base64
import io

import pytest

from recognizer.access.access_file import AccessFile
from recognizer.access.dialects import ADMIN, ANYONE, DIALECTS, READ, WRITE, DialectAccess, chosen
from recognizer.access.gate import AccessRules, Gate
from recognizer.access.keys import Keys
from recognizer.access.route_roles import ROUTES
from recognizer.access.sessions import Sessions
from recognizer.core.errors import InvalidParameter, NoImage, SettingsError
from recognizer.http.dialect_requests import DialectRequest

OWN = list(ROUTES)


def places(*words: str) -> dict[str, str]:
    return {dialect.name: dialect.prefix for dialect in chosen(words, OWN)}


def test_each_dialect_has_a_place():
    everything = places("all")
    assert list(everything) == [dialect.name for dialect in DIALECTS] and everything["deepstack"] == ""
    assert everything["codeproject"] == "/codeproject"  # DeepStack has its paths
    assert places("auto") == everything and places("none") == places() == {}
    assert places("codeproject") == {"codeproject": ""}
    assert places("codeproject=/", "deepstack=/old/ds") == {"codeproject": "", "deepstack": "/old/ds"}
    assert all(dialect.automatic for dialect in chosen(["auto"], OWN))
    assert not any(dialect.automatic for dialect in chosen(["all"], OWN))


@pytest.mark.parametrize(
    "words",
    [
        *(["nobody"], ["nextcloud=/"], ["deepstack=x"], ["deepstack=/a/"], ["all", "deepstack"], ["deepstack", "deepstack=/x"]),
        ["deepstack=/", "codeproject=/"],
    ],
)
def test_places_that_cannot_be(words):
    with pytest.raises(SettingsError, match="dialects: "):
        chosen(words, OWN)


def test_rekognition_at_the_root_has_its_one_route_there_and_nothing_else():
    assert places("rekognition") == {"rekognition": "/rekognition"}
    (rekognition, deepstack) = chosen(["rekognition=/", "deepstack"], OWN)
    assert (rekognition.prefix, deepstack.prefix) == ("", "")
    assert rekognition.claims("/", "POST") and rekognition.placed() == {("POST", "/"): READ}
    assert not rekognition.claims("/", "GET") and not rekognition.claims("/people", "POST")
    assert chosen(["rekognition=/aws"], OWN)[0].claims("/aws/x", "GET")


def test_a_dialect_that_wants_a_path_of_ours_gets_a_prefix():
    greedy = DialectAccess("greedy", ("/people",), {("GET", "/people"): READ})
    assert chosen(["greedy"], OWN, [greedy])[0].prefix == "/greedy"
    with pytest.raises(SettingsError, match="this server itself"):
        chosen(["greedy=/"], OWN, [greedy])


def test_every_route_of_a_dialect_has_a_role_and_every_role_a_route():
    import api

    roles = api.site.gate.routes
    served = {
        (method, base + template)
        for base, templates in api.api.http.routes.items()
        for template, methods in templates.items()
        for method in methods
    }
    assert set(roles) == served and set(ROUTES) <= served
    reading = (
        *("recognize", "verify", "detect", "detection", "match", "list", "face", "{model}", "scene"),
        *("compute", "represent", "analyze", "search", "index", "upload"),
        *("identify", "findsimilars", "group"),
        "",  # each operation of Rekognition checks its own role
    )
    for dialect in DIALECTS:
        for (method, path), role in dialect.routes.items():
            assert role in (WRITE, ADMIN) or method == "GET" or path.rsplit("/", 1)[1] in reading, (method, path)
        assert set(dialect.routes.values()) <= {ANYONE, READ, WRITE, ADMIN}
        assert all(any(path.startswith(root) for root in dialect.roots) for _, path in dialect.routes)


def test_dialects_that_nobody_named_are_off_where_there_are_keys_or_others_are_served(tmp_path):
    access = AccessFile(tmp_path / "access.sqlite")
    keys = Keys(access)
    dialects = chosen(["auto"], OWN)
    gate = Gate(keys, Sessions(access, keys, 60), AccessRules(), dialects=dialects)
    everyones = Gate(keys, Sessions(access, keys, 60), AccessRules(anyone=True), dialects=dialects)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/vision/face/list",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_X_API_KEY": "any",
    }
    assert gate.admit(dict(environ)).role == ADMIN
    assert everyones.admit(dict(environ)).error.code == "unknown_route"
    _, text = keys.add("a", "admin")
    assert gate.admit(environ | {"HTTP_X_API_KEY": text}).error.code == "unknown_route"
    named = Gate(keys, Sessions(access, keys, 60), AccessRules(), dialects=chosen(["all"], OWN))
    assert named.admit(environ | {"HTTP_X_API_KEY": text}).role == ADMIN


def request(query: str = "", body: bytes = b"", kind: str = "") -> DialectRequest:
    environ = {
        "QUERY_STRING": query,
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    return DialectRequest(environ, 1_000_000, 5, True)


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("&limit=0&status=True", {"limit": "0", "status": "True"}),
        ("subject=Ada%20L?det_prob_threshold=0.8", {"subject": "Ada L", "det_prob_threshold": "0.8"}),
        ("a=1,2,3&flag&a=4", {"a": "1,2,3", "flag": "true"}),
        ("subject=Ada+Lovelace&face_plugins=", {"subject": "Ada Lovelace", "face_plugins": ""}),
        ("subject=Zo\u00c3\u00ab", {"subject": "Zoë"}),
        ("subject=Who?", {"subject": "Who?"}),
    ],
)
def test_queries_are_read_as_clients_write_them(query, read):
    assert request(query).query == read


def test_numbers_and_switches():
    asked = request("a=0.5&b=True&c=nan&d=7&e=no&f")
    assert asked.number("a", 1, 0, 1) == 0.5 and asked.number("x", 0.3, 0, 1) == 0.3 and asked.whole("d", 0, 0, 9) == 7
    assert asked.switch("b") and asked.switch("f") and not asked.switch("e") and asked.switch("x", True)
    for name in ("b", "c", "d"):
        with pytest.raises(InvalidParameter):
            asked.number(name, 0, 0, 1)


def test_photos_in_every_form(faces):
    photo = faces["obama"]
    for name in (b"image", b"anything"):
        head = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="image"\r\n\r\n' % name
        body = head + photo + b"\r\n--B--\r\n"
        assert request(body=body, kind="multipart/form-data; boundary=B").photo("image") == photo
    assert request(body=photo, kind="application/octet-stream").photo("image") == photo
    text = b'{"file": "%s", "other": [1, 2]}' % base64.b64encode(photo)
    assert request(body=text, kind="application/json").photo("file") == photo
    with pytest.raises(NoImage):
        request(body=b"[1, 2]", kind="application/json").photo("file")
    assert request(body=b"[1, 2]", kind="application/json").body.content == [1, 2]
