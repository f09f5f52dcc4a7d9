"""What cannot be answered: the right status, one form of error, and a server that goes on answering."""

from __future__ import annotations

import base64
import io
import socket
import time

import pytest
from PIL import Image

from . import pictures
from .conftest import MAX_BODY, MAX_BYTES, MAX_PHOTOS
from .serving import check_error_body, code


def refused(reply) -> tuple[int, str]:
    return reply.status_code, code(reply)


# -- routes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["J%FCrgen", "J\xfcrgen", "J%C3", "%ED%A0%80"])
@pytest.mark.parametrize("target", ["GET /people?search={}", "POST /enroll?subject={}", "PATCH /people/A?x={}"])
def test_a_name_in_another_encoding_is_refused_instead_of_another_name_being_stored(reader, target, name):
    line = f"{target.format(name)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, headers, body = reader.raw(line.encode("latin-1"))
    assert status == 400 and b"expected UTF-8" in body, body


def test_a_name_in_utf_8_need_not_be_percent_encoded(reader):
    status, _, body = reader.raw("GET /people?search=Jürgen HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert status == 200, body


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/recognise",
        "/recognize/x",
        "/people/Joe%20Biden/photos",
        "/people/a/b/c/d",
        "//",
        "/api.py",
        "/static/../api.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/people/../../etc/passwd",
        "/v2/health",
        "/%00",
        "/%ff",
        "/RECOGNIZE",
        "/<script>alert(1)</script>",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_routes(reader, method, path):
    status, headers, body = reader.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    if path == "//" and method == "GET" and status == 200:
        return  # the first page, as good as any
    assert status == 404 or (path == "//" and status == 405), body
    assert headers["Content-Type"] == "application/json"
    check_error_body(body)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/recognize", {"GET", "POST"}),
        ("DELETE", "/recognize", {"GET", "POST"}),
        ("GET", "/detect", {"POST"}),
        ("GET", "/verify", {"POST"}),
        ("GET", "/enroll", {"POST"}),
        ("POST", "/people", {"GET"}),
        ("POST", "/people/Joe Biden", {"GET", "PATCH", "DELETE"}),
        ("DELETE", "/people", {"GET"}),
        ("POST", "/health", {"GET"}),
        ("PATCH", "/people/Joe Biden/photos/0", {"GET", "DELETE"}),
    ],
)
def test_methods_that_are_not_possible(reader, method, path, allowed):
    reply = reader.request(method, path)
    assert refused(reply) == (405, "method_not_allowed")
    assert allowed <= {name.strip() for name in reply.headers["Allow"].split(",")} <= allowed | {"OPTIONS", "HEAD"}


def test_a_method_that_nobody_knows(reader):
    status, _, body = reader.raw(b"BREW /recognize HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status in (400, 405, 501)
    check_error_body(body)


def test_nobody_of_that_name(reader, faces):
    for reply in (
        reader.get("/people/Nobody"),
        reader.get("/people/%2e%2e"),
        reader.get("/people/%00"),
        reader.get("/people/%FF"),
        reader.get("/people/Nobody/photos/0"),
        reader.request("DELETE", "/people/Nobody"),
        reader.request("PATCH", "/people/Nobody", json={"name": "Somebody"}),
        reader.post("/verify", files={"file": faces["obama"]}, data={"subject": "Nobody"}),
    ):
        assert refused(reply) == (404, "subject_not_found"), reply.text
    for photo in ("0", "../../x", "%2e%2e", "x" * 500):
        for method in ("GET", "DELETE"):
            assert reader.request(method, f"/people/Joe Biden/photos/{photo}").status_code == 404


# -- bodies ----------------------------------------------------------------------------------------------------------

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "data",
    [
        b'{"image_url": ',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"image_url": NaN}',
        b'{"top_k": Infinity}',
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b"{]",
        b"\xff\xfe{}",
        b"{}{}",
        b"\x00",
        b'{"image_url": "\xff"}',
        b"1" * 10_000,
        b'{"top_k": ' + b"1" * 10_000 + b"}",
        b'{"a": ' + b'{"b": ' * 30 + b"1" + b"}" * 31,
    ],
    ids=lambda data: repr(data[:20]),
)
@pytest.mark.parametrize("path", ["/recognize", "/enroll", "/verify"])
def test_broken_json(reader, path, data):
    reply = reader.post(path, data=data, headers=JSON)
    assert reply.status_code == 400, reply.text


@pytest.mark.parametrize("value", ["", "!!!!", "data:image/jpeg,abc", "data:image/jpeg;base64", "a", "é", 5, None, {}, ["!"]])
def test_broken_base64(reader, value):
    reply = reader.post("/recognize", json={"image_base64": value})
    assert reply.status_code in (400, 415), reply.text


def part(name='name="file"; filename="a.jpg"', data=b"xyz", boundary=b"b") -> bytes:
    return b"--" + boundary + b"\r\nContent-Disposition: form-data; " + name.encode() + b"\r\n\r\n" + data + b"\r\n"


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("multipart/form-data", part() + b"--b--\r\n"),
        ("multipart/form-data; boundary=", part() + b"--b--\r\n"),
        ("multipart/form-data; boundary=other", part() + b"--b--\r\n"),
        ("multipart/form-data; boundary=b", part()),
        ("multipart/form-data; boundary=b", part()[:-10]),
        ("multipart/form-data; boundary=b", b"--b"),
        ("multipart/form-data; boundary=b", b"garbage"),
        ("multipart/form-data; boundary=b", part(name="") + b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"X-Long: " + b"y" * 100_000 + b"\r\n\r\n\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", part('name="top_k"', b"\xff\xfe") + b"--b--\r\n"),
        ("multipart/form-data; boundary=b; charset=nonsense", part('name="top_k"', b"1") + b"--b--\r\n"),
        ("multipart/form-data; boundary=" + "b" * 5000, part(boundary=b"b" * 5000)),
        ("multipart/form-data; boundary=b", part('name="file"', b"text instead of a file") + b"--b--\r\n"),
        ("application/x-www-form-urlencoded", b"subject=\xff\xfe\xfd"),
        ("application/x-www-form-urlencoded", b'{"image_url": "https://example.org/a.jpg"}'),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(5000))),
        ("application/x-www-form-urlencoded", b"a=1&a=2"),
    ],
)
def test_broken_multipart_and_forms(reader, content_type, data):
    reply = reader.post("/recognize", data=data, headers={"Content-Type": content_type})
    assert reply.status_code == (413 if b"X-Long" in data else 400), reply.text


ENDLESS = b"word " * 60_000


@pytest.mark.parametrize(
    ("path", "kind", "data", "expected"),
    [
        ("/recognize", "application/x-www-form-urlencoded", ENDLESS, (415, "unsupported_image")),
        ("/recognize", "text/plain", ENDLESS, (415, "unsupported_image")),
        ("/recognize", "application/x-www-form-urlencoded", ENDLESS * 20, (413, "body_too_large")),
        ("/recognize", "application/x-www-form-urlencoded", b"image_url=" + b"%" * 300_000, (413, "body_too_large")),
        ("/recognize", "application/x-www-form-urlencoded", b"x" * 300 + b"=1", (415, "unsupported_image")),
        ("/recognize", "application/json", b'{"top_k": [' + b"1," * 300_000 + b"1]}", (413, "body_too_large")),
        ("/recognize", "application/json", b'{"top_k": [' + b"1," * 10_000 + b"1]}", (400, "invalid_parameter")),
        ("/recognize", "application/json", b'{"' + b"a" * 60_000 + b'": 1}', (400, "invalid_parameter")),
        ("/recognize?" + "a" * 30_000 + "=1", "application/json", b"{}", (400, "invalid_parameter")),
        ("/recognize?top_k=" + "a" * 30_000, "application/json", b"{}", (400, "invalid_parameter")),
        ("/recognize?" + "&".join(f"a{n}" for n in range(9000)), "application/json", b"{}", (400, "invalid_parameter")),
        ("/recognize?image_url=" + "a" * 30_000, "application/json", b"{}", (400, "invalid_url")),
        ("/" + "a" * 30_000, "application/json", b"{}", (404, "unknown_route")),
        ("/people/" + "a" * 30_000, "application/json", b"{}", (405, "method_not_allowed")),
        ("/session", "application/json", b'{"key": "' + b"a" * 60_000 + b'"}', (401, "invalid_key")),
        ("/cameras", "application/json", b'{"source": "' + b"a" * 60_000 + b'"}', (400, "invalid_source")),
        ("/cameras", "application/json", b'{"source": "' + b"a" * 70_000 + b'"}', (413, "body_too_large")),
        ("/cameras", "image/jpeg", ENDLESS, (413, "body_too_large")),
        ("/keys", "application/json", b'{"name": "' + b"a" * 60_000 + b'"}', (400, "invalid_parameter")),
        ("/strangers/" + "a" * 30_000 + "/name", "application/json", b'{"subject": "A"}', (404, "strangers_off")),
    ],
)
def test_no_refusal_is_long_however_much_was_sent(reader, path, kind, data, expected):
    reply = reader.post(path, data=data, headers={"Content-Type": kind})
    assert refused(reply) == expected
    assert len(reply.content) < 1500


def test_too_many_parts(reader):
    data = b"".join(part(f'name="file"; filename="{n}"') for n in range(2000)) + b"--b--\r\n"
    reply = reader.post("/recognize", data=data, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert refused(reply) == (413, "body_too_large")


def test_too_many_photos(reader, faces):
    assert refused(reader.enroll("Many", *[faces["nobody"]] * (MAX_PHOTOS + 1))) == (400, "invalid_parameter")


def head(*lines: str, path: str = "/recognize") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head("Content-Length: 100") + b"only this", 400),
        (head("Content-Length: 100", "Content-Type: multipart/form-data; boundary=b") + part(), 400),
        (head("Content-Length: 3", "Content-Type: multipart/form-data; boundary=b") + part() + b"--b--", 400),
        (head("Content-Length: -5"), 400),
        (head("Content-Length: many"), 400),
        (head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (head("Transfer-Encoding: chunked") + b"zz\r\nabc\r\n0\r\n\r\n", 400),
        (head("Transfer-Encoding: chunked") + b"5\r\nab", 400),
        (head("Content-Length: 99999999999999999999"), 413),
        (head(f"Content-Length: {MAX_BODY + 1}"), 413),
        (head("X-Long: " + "y" * 100_000), 431),
        (head(path="/recognize?x=" + "y" * 100_000), (414, 431)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", (400, 505)),
        (b"GET\r\n\r\n", 400),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else None,
)
def test_requests_that_are_not_http_as_it_should_be(reader, request_, status):
    got, _, body = reader.raw(request_, then_close=True)
    assert got in (status if isinstance(status, tuple) else (status,)), body
    check_error_body(body)


def test_a_client_that_hangs_up(reader, faces):
    for request in (head("Content-Length: 1000"), head(f"Content-Length: {len(faces['obama'])}") + faces["obama"]):
        with socket.create_connection(("127.0.0.1", reader.port)) as connection:
            connection.sendall(request)
    assert reader.names(faces["obama2"]) == ["Barack Obama"]


def test_empty_bodies(reader):
    assert refused(reader.post("/recognize", headers={"Content-Type": "image/jpeg"})) == (400, "no_image")
    assert refused(reader.post("/recognize", headers=JSON)) == (400, "no_image")
    assert refused(reader.post("/recognize", files={"file": ("a.jpg", b"")})) == (415, "unsupported_image")
    assert reader.post("/recognize", headers={"Content-Type": "multipart/form-data; boundary=b"}).status_code == 400


# -- too large -------------------------------------------------------------------------------------------------------


def test_too_many_bytes(reader, faces):
    photo = faces["nobody"] + bytes(MAX_BYTES)
    assert refused(reader.post("/recognize", data=photo)) == (413, "image_too_large")
    assert refused(reader.post("/recognize", files={"file": photo})) == (413, "image_too_large")


def test_too_many_pixels(reader):
    photo = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(photo, "PNG")
    assert len(photo.getvalue()) < MAX_BYTES
    assert refused(reader.post("/recognize", data=photo.getvalue())) == (413, "image_too_large")
    assert refused(reader.enroll("Large", photo.getvalue())) == (413, "image_too_large")


def test_too_large_a_body(reader):
    data = bytes(MAX_BODY + 1)
    assert refused(reader.post("/recognize", data=data)) == (413, "body_too_large")
    assert refused(reader.post("/recognize", files={"file": data})) == (413, "body_too_large")
    assert refused(reader.post("/recognize", json={"image_base64": base64.b64encode(data).decode()})) == (
        413,
        "body_too_large",
    )


def test_too_large_a_body_in_chunks(reader):
    pieces = [b"%x\r\n" % 1_000_000 + bytes(1_000_000) + b"\r\n"] * (MAX_BODY // 1_000_000 + 1)
    status, _, body = reader.raw(head("Transfer-Encoding: chunked") + b"".join(pieces) + b"0\r\n\r\n")
    assert status == 413
    assert check_error_body(body)["code"] == "body_too_large"


# -- not photos ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"hello", b"%PDF-1.7\n" + b"x" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html></html>", bytes(1000)],
)
def test_not_an_image(reader, web, data):
    assert refused(reader.post("/recognize", data=data)) == (415, "unsupported_image")
    assert refused(reader.post("/recognize", files={"file": data})) == (415, "unsupported_image")
    assert refused(reader.get("/recognize", params={"image_url": web.url("/not", data)})) == (415, "unsupported_image")


def test_cut_short(reader, faces):
    for photo in (faces["obama"], pictures.converted(faces["obama"], "PNG")):
        assert refused(reader.post("/recognize", data=photo[: len(photo) // 2])) == (422, "broken_image")
    assert reader.post("/recognize", data=faces["obama"][:20]).status_code in (415, 422)


# -- URLs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "photo.jpg",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.jpg",
        "http://",
        "http:///a",
        "gopher://x/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:abc/",
        "data:image/jpeg;base64,AAAA",
        "http://user:pw@/",
        "http://[::1",
        "http://exa mple/",
        "javascript:alert(1)",
        "http://127.0.0.1/\r\nHost: evil",
        "http://127.0.0.1/\x00",
        "http://" + "a" * 300 + "/",
        "http://127.0.0.1/" + "a" * 10_000,
        "//127.0.0.1/a.jpg",
        "http://\ud800/",
        "http://127.0.0.1/\ud800",
    ],
)
def test_urls_that_cannot_be_asked_for(reader, url):
    reply = reader.post("/recognize", json={"image_url": url})
    assert reply.status_code == 400, reply.text


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/",
        "http://localhost./",
        "http://[::1]/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://2130706434/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:10.0.0.1]/",
        "http://0x7f.0.0.2/",
        "http://192.168.1.1/",
    ],
)
def test_addresses_that_are_not_allowed(reader, url):
    reply = reader.get("/recognize", params={"image_url": url})
    if reply.status_code == 502:
        assert code(reply) == "fetch_failed" and "localhost" in url  # resolves to 127.0.0.1 alone, which is allowed
    else:
        assert reply.status_code == 400, reply.text


def test_a_redirect_is_checked_too(reader, web, faces):
    def to(target):
        return lambda handler: handler.reply(b"", 302, Location=target)

    inside = web.url("/inside", to("http://10.0.0.1/secret"))
    assert refused(reader.get("/recognize", params={"image_url": inside})) == (400, "address_refused")
    assert reader.get("/recognize", params={"image_url": web.url("/file", to("file:///etc/passwd"))}).status_code in (
        400,
        502,
    )
    loop = web.url("/loop", to(web.url("/loop")))
    assert reader.get("/recognize", params={"image_url": loop}).status_code == 502
    there = web.url("/there", to(web.url("/o.jpg", faces["obama2"])))
    assert reader.get("/recognize", params={"image_url": there}).status_code == 200


def test_urls_that_fail(reader, web):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    def broken(handler):
        handler.wfile.write(b"this is not HTTP\r\n\r\n")

    def short(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"only this")

    for url in (
        f"http://127.0.0.1:{port}/a.jpg",
        web.url("/404", 404),
        web.url("/500", 500),
        web.url("/broken", broken),
        web.url("/short", short),
        "http://no-such-host.invalid/a.jpg",
    ):
        assert refused(reader.get("/recognize", params={"image_url": url})) == (502, "fetch_failed"), url


def test_a_url_that_takes_too_long(reader, web):
    def slow(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(40):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    assert refused(reader.get("/recognize", params={"image_url": web.url("/slow", slow)})) == (504, "fetch_timeout")


def test_a_url_with_too_many_bytes(reader, web):
    assert refused(reader.get("/recognize", params={"image_url": web.url("/large", bytes(MAX_BYTES + 1))})) == (
        413,
        "fetch_too_large",
    )


# -- every reply -----------------------------------------------------------------------------------------------------


def test_headers_of_every_reply(reader, faces):
    for reply in (
        reader.get("/health"),
        reader.get("/nothing"),
        reader.post("/recognize"),
        reader.request("PUT", "/people"),
    ):
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "server" not in reply.headers or reply.headers["server"] == "recognizer"


def test_the_first_page_lists_the_routes(reader):
    shown = reader.get("/").json()
    assert {"/recognize", "/detect", "/verify", "/enroll", "/people", "/health"} <= set(shown["handlers"])


def test_health(reader):
    shown = reader.get("/health").json()
    assert shown["live"] is shown["ready"] is True
    assert shown["counts"] == {"subjects": 2, "templates": 2, "problems": 0}
    assert {"engine", "threshold", "queue", "uptime_s", "version"} <= set(shown)
