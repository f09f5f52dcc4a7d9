"""Who may do what, over real sockets: every route with every role, attacks from pages, rates, sessions, proxies, secrets."""

from __future__ import annotations

import json
import os
import re
import stat
import time

import pytest
import requests

from recognizer.access.dialects import ADMIN, ANYONE, READ, WRITE
from recognizer.access.route_roles import ROUTES
from recognizer.core.headers import SECURITY_HEADERS
from recognizer.http.pages import DOCS_POLICY

from .. import template
from .serving import GUNICORN, HUG, Server, code, environment, make_key

ADMIN_KEY = "an-admin-key-of-the-settings-0123456789"
ORDER = [ANYONE, READ, WRITE, ADMIN]
NOTICED = 2.0
#: Replies without an end.
ENDLESS = ("/stream", "/cameras/{camera}/stream", "/events")


@pytest.fixture(scope="module")
def locked(tmp_path_factory, faces):
    """A server with a key of each role in `keys`."""
    server = Server(tmp_path_factory.mktemp("locked"), cors="https://app.example.org", session_hours=1, camera="test:")
    server.put("Barack Obama/one.jpg", faces["obama"])
    with server:
        assert server.get("/people").status_code == 200  # the newcomer's house is open to the machine itself
        server.keys = {role: make_key(server, role) for role in (READ, WRITE, ADMIN)}
        server.wait_for(lambda: server.get("/people").status_code == 401, NOTICED)
        yield server


def check_headers(reply) -> None:
    wanted = dict(SECURITY_HEADERS)
    if reply.headers["Content-Type"].startswith("text/html"):
        wanted |= {"Cache-Control": "no-cache", "Content-Security-Policy": DOCS_POLICY}
    assert {name: reply.headers.get(name) for name in wanted} == wanted


def shows(key: str) -> dict:
    return {"X-Api-Key": key}


# -- roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ORDER)
@pytest.mark.parametrize(("method", "template"), sorted(ROUTES))
def test_every_route_with_every_role(locked, method, template, role):
    headers = shows(locked.keys[role]) if role != ANYONE else {}
    path = re.sub(r"\{.*?\}", "nobody", template)
    if template in ENDLESS and role != ANYONE:
        with requests.get(locked.url + path, headers=headers, stream=True, timeout=60) as reply:
            assert reply.status_code in (200, 404)
            check_headers(reply)
        return
    reply = locked.request(method, path, headers=headers)
    wanted = ROUTES[method, template]
    if ORDER.index(role) >= ORDER.index(wanted):
        assert reply.status_code != 403
        if (method, template, role) == ("POST", "/session", ANYONE):
            assert code(reply) == "key_required"  # reached, and told that there is nothing to begin it with
        else:
            assert reply.status_code != 401
    elif role == ANYONE:
        assert (reply.status_code, code(reply)) == (401, "key_required")
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    else:
        assert (reply.status_code, code(reply)) == (403, "role_required")
        assert reply.json()["error"]["needed"] == wanted
    check_headers(reply)


def test_reading_works_with_a_key_in_either_header(locked, faces):
    for headers in (shows(locked.keys[READ]), {"Authorization": f"Bearer {locked.keys[READ]}"}):
        reply = locked.post("/recognize", data=faces["obama2"], headers=headers)
        assert [face["subject"] for face in reply.json()["faces"]] == ["Barack Obama"]


@pytest.mark.parametrize("key", ["", "x", "rk_abcdefgh_" + "A" * 43, "rk_" * 300, "\xff\xfe", "' OR 1=1 --"])
def test_a_wrong_key_is_told_nothing(locked, key):
    for path in ("/people", "/health", "/nothing"):
        reply = locked.get(path, headers={"X-Api-Key": key.encode("latin-1")})
        assert reply.status_code == 401 and "WWW-Authenticate" in reply.headers, reply.text
        assert set(reply.json()["error"]) == {"code", "message"}


def test_unknown_routes_are_no_secret_from_whoever_may_ask(locked):
    assert locked.get("/nothing").status_code == 401
    assert locked.get("/nothing", headers=shows(locked.keys[READ])).status_code == 404
    assert locked.request("PUT", "/people", headers=shows(locked.keys[READ])).status_code == 405


def test_health_tells_strangers_that_it_lives_and_no_more(locked):
    assert locked.get("/health").json() == {"live": True, "ready": True}
    assert "counts" in locked.get("/health", headers=shows(locked.keys[READ])).json()


def test_refusals_are_counted_and_logged_like_every_request(locked):
    def told() -> dict[str, float]:
        text = locked.get("/metrics", headers=shows(locked.keys[READ])).text
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    before = told()
    refused = locked.post("/enroll?subject=x", data=b"x" * 100_000)
    assert (refused.status_code, code(refused)) == (401, "key_required")
    beyond = locked.post("/enroll?subject=x", data=b"x" * 100_000, headers=shows(locked.keys[READ]))
    assert (beyond.status_code, code(beyond)) == (403, "role_required")
    locked.wait_for(lambda: all(reply.headers["X-Request-Id"] in locked.log() for reply in (refused, beyond)))
    after = told()
    for name in (
        'recognizer_errors_total{code="key_required"}',
        'recognizer_errors_total{code="role_required"}',
        'recognizer_http_requests_total{method="POST",route="unknown",status="401"}',
        'recognizer_http_requests_total{method="POST",route="/enroll",status="403"}',
    ):
        assert after[name] - before.get(name, 0) == 1, name
    for reply in (refused, beyond):
        (line,) = (line for line in locked.log().splitlines() if reply.headers["X-Request-Id"] in line)
        assert json.loads(line)["error"] == code(reply)


def test_the_document_says_how_to_show_a_key_where_one_is_needed(locked):
    paths = locked.get("/openapi.json").json()["paths"]
    for (method, path), role in ROUTES.items():
        assert ("security" in paths[path][method.lower()]) is (role != ANYONE), (method, path)


def test_a_key_in_a_url_is_no_key(locked):
    assert locked.get("/people", params={"api_key": locked.keys[READ]}).status_code == 401
    reply = locked.post("/session", params={"key": locked.keys[READ]})
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter")


def test_the_body_of_a_stranger_is_not_read(locked):
    """The answer comes while the body, of which a megabyte was announced, is still to be sent."""
    for head in ("Content-Length: 1000000", "Transfer-Encoding: chunked"):
        status, headers, body = locked.raw(f"POST /enroll HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        assert status == 401 and json.loads(body)["error"]["code"] == "key_required"
        assert headers["Connection"] == "close"


def test_an_expired_key(locked):
    key = make_key(locked, READ, "--days", "0.00002")
    locked.wait_for(lambda: locked.get("/people", headers=shows(key)).status_code != 200)
    reply = locked.get("/people", headers=shows(key))
    assert (reply.status_code, code(reply)) == (401, "key_expired")


def test_a_key_is_made_and_revoked_while_the_server_runs(locked):
    key = make_key(locked, WRITE)
    assert locked.get("/people", headers=shows(key)).status_code == 200
    begun = locked.post("/session", headers=shows(key))
    cookies = {"recognizer_session": begun.cookies["recognizer_session"]}
    assert locked.get("/people", cookies=cookies).status_code == 200
    assert locked.cli("keys", "revoke", key[3:11]).exit_code == 0
    locked.wait_for(lambda: locked.get("/people", headers=shows(key)).status_code == 401, NOTICED)
    locked.wait_for(lambda: locked.get("/people", cookies=cookies).status_code == 401, NOTICED)
    assert "revoked" in locked.get("/people", headers=shows(key)).text


@pytest.mark.parametrize("path", ["/stream", "/events"])
def test_whoever_watches_is_sent_away_when_the_key_is_revoked(locked, path):
    key = make_key(locked, READ)
    with requests.get(locked.url + path, headers=shows(key), stream=True, timeout=60) as reply:
        assert reply.status_code == 200
        if path == "/stream":
            assert reply.raw.read(1000)
        assert locked.cli("keys", "revoke", key[3:11]).exit_code == 0
        while reply.raw.read(100_000):  # until the server ends it
            pass


# -- sessions --------------------------------------------------------------------------------------------------------


def begin(server: Server, role: str = WRITE) -> tuple[dict, dict]:
    """A session's cookies, and the headers with which a page of the server uses it."""
    reply = server.post("/session", json={"key": server.keys[role]}, headers={"Origin": server.url})
    assert reply.status_code == 201 and reply.json()["role"] == role
    assert server.keys[role] not in reply.text
    return dict(reply.cookies), {"X-CSRF-Token": reply.json()["csrf_token"], "Origin": server.url}


def test_the_life_of_a_session(locked):
    reply = locked.post("/session", headers=shows(locked.keys[READ]))
    shown = reply.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(shown.split("; "))
    assert 3590 <= int(re.search(r"Max-Age=(\d+)", shown)[1]) <= 3600 and "Secure" not in shown
    cookies, page = begin(locked)
    told = locked.get("/session", cookies=cookies).json()
    assert told["role"] == WRITE and told["csrf_token"] == page["X-CSRF-Token"] and 3500 < told["expires"] - time.time() <= 3600
    assert locked.request("DELETE", "/people/nobody", cookies=cookies, headers=page).status_code == 404
    assert locked.request("DELETE", "/session", cookies=cookies).status_code == 403
    ended = locked.request("DELETE", "/session", cookies=cookies, headers=page)
    assert ended.json() == {"ended": True} and "Max-Age=0" in ended.headers["Set-Cookie"]
    assert locked.get("/people", cookies=cookies).status_code == 401


def test_signing_out_and_revoking_a_key_end_notifications_in_browsers(locked):
    p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    given = {"p256dh": p256dh, "auth": "BTBZMqHH6r4Tts7J_aSIgg"}

    def subscribe(name: str, **how) -> None:
        reply = locked.post(
            "/push/subscriptions", json={**given, "endpoint": f"https://push.example/{name}", "label": name}, **how
        )
        assert reply.status_code == 201

    def listed() -> list[str]:
        found = locked.get("/push", headers=shows(locked.keys[WRITE])).json()["subscriptions"]
        return [each["label"] for each in found]

    cookies, headers = begin(locked)
    key = make_key(locked, WRITE)
    subscribe("session", cookies=cookies, headers=headers)
    subscribe("own", headers=shows(key))
    subscribe("other", headers=shows(locked.keys[WRITE]))
    assert listed() == ["session", "own", "other"]
    assert "push.example/" not in locked.get("/push", headers=shows(locked.keys[WRITE])).text
    assert locked.request("DELETE", "/session", cookies=cookies, headers=headers).status_code == 200
    assert listed() == ["own", "other"]
    assert locked.cli("keys", "revoke", key[3:11]).exit_code == 0
    locked.wait_for(lambda: listed() == ["other"], NOTICED)


def test_signing_out_ends_the_session_although_the_list_of_browsers_is_damaged(locked):
    cookies, headers = begin(locked)
    before = len(locked.get("/audit", params={"action": "sign_out"}, headers=shows(locked.keys[ADMIN])).json()["lines"])
    file = locked.state / "push.json"
    file.write_text("{")
    try:
        reply = locked.request("DELETE", "/session", cookies=cookies, headers=headers)
        assert reply.status_code >= 500 and "Max-Age=0" in reply.headers["Set-Cookie"]
        lines = locked.get("/audit", params={"action": "sign_out"}, headers=shows(locked.keys[ADMIN])).json()["lines"]
        assert len(lines) == before + 1
    finally:
        file.unlink()


def test_a_session_has_no_more_than_its_keys_role(locked):
    cookies, page = begin(locked, READ)
    assert locked.get("/people", cookies=cookies).status_code == 200
    assert code(locked.request("DELETE", "/people/nobody", cookies=cookies, headers=page)) == "role_required"


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, "csrf_refused"),
        ({"X-CSRF-Token": None}, "csrf_refused"),
        ({"Origin": None}, "csrf_refused"),
        ({"X-CSRF-Token": "0" * 43}, "csrf_refused"),
        ({"Origin": "http://evil.example"}, "origin_refused"),
        ({"Origin": "null"}, "origin_refused"),
        ({"Origin": "https://app.example.org"}, "origin_refused"),
        ({"Origin": "http://127.0.0.1:1"}, "origin_refused"),
        ({"Origin": None, "Sec-Fetch-Site": "cross-site"}, "origin_refused"),
        ({"Origin": None, "Sec-Fetch-Site": "same-site"}, "origin_refused"),
    ],
    ids=str,
)
def test_a_session_cannot_be_ridden_by_another_page(locked, headers, refusal):
    cookies, page = begin(locked)
    sent = {**page, **headers} if headers else {}
    reply = locked.request("DELETE", "/people/Barack Obama", cookies=cookies, headers=sent)
    assert (reply.status_code, code(reply)) == (403, refusal)


def test_no_page_can_log_a_browser_in_as_somebody(locked):
    reply = locked.post("/session", data={"key": locked.keys[READ]}, headers={"Origin": "http://evil.example"})
    assert (reply.status_code, code(reply)) == (403, "origin_refused") and "Set-Cookie" not in reply.headers
    reply = locked.post("/session", data={"key": "wrong"})
    assert (reply.status_code, code(reply)) == (401, "invalid_key") and "Set-Cookie" not in reply.headers


# -- CORS ------------------------------------------------------------------------------------------------------------


def test_cors_for_a_listed_site_and_for_no_other(locked):
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    listed = {"Origin": "https://app.example.org"}
    reply = locked.request("OPTIONS", "/recognize", headers={**listed, **ask})
    assert reply.status_code == 204 and reply.content == b""
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "X-Api-Key" in reply.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in reply.headers
    for headers in ({**listed, **shows(locked.keys[READ])}, listed):  # refusals can be read as well
        assert locked.get("/people", headers=headers).headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    for origin in ("https://evil.example", "null", "http://app.example.org", "https://app.example.org.evil.example"):
        assert locked.request("OPTIONS", "/recognize", headers={"Origin": origin, **ask}).status_code == 403
        reply = locked.get("/people", headers={"Origin": origin, **shows(locked.keys[READ])})
        assert reply.status_code == 200 and "Access-Control-Allow-Origin" not in reply.headers
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_no_secret_is_told_or_written_down(locked):
    cookies, page = begin(locked)
    locked.post("/session", json={"key": locked.keys[ADMIN] + "x"})
    locked.get("/people", headers={"Authorization": f"Basic {locked.keys[READ]}"})
    locked.get(f"/{locked.keys[READ]}")
    secrets = [*locked.keys.values(), *(key[12:] for key in locked.keys.values()), *cookies.values()]
    said = [locked.log(), locked.get("/health", headers=shows(locked.keys[ADMIN])).text, locked.get("/").text]
    for words in (("keys",), ("--json", "keys"), ("settings",), ("doctor",), ("--json", "doctor")):
        done = locked.cli(*words, admin_key=ADMIN_KEY)
        said += [done.stdout, done.stderr]
    for secret in [*secrets, ADMIN_KEY]:
        assert not [text for text in said if secret in text]
        for file in locked.state.rglob("*"):
            assert secret.encode() not in (file.read_bytes() if file.is_file() else b""), file
    if os.name == "posix":
        assert stat.S_IMODE((locked.state / "access.sqlite").stat().st_mode) == 0o600
    shown = locked.cli("keys").stdout
    assert all(key[3:11] in shown for key in locked.keys.values())


def test_the_admin_key_may_stand_in_a_file_or_in_the_config(tmp_path):
    secret, config = tmp_path / "secret", tmp_path / "recognizer.toml"
    secret.write_text(ADMIN_KEY + "\n")
    config.write_text(f'admin_key = "{ADMIN_KEY}"\nrate_key = "7/hour"\n')
    for settings in ({"admin_key_file": secret}, {"config": config}):
        with Server(tmp_path / "server", **settings) as server:
            assert server.get("/people").status_code == 401
            assert server.get("/session", headers=shows(ADMIN_KEY)).json()["role"] == ADMIN
            assert ADMIN_KEY not in server.log()
            allowed = [server.get("/people", headers=shows(ADMIN_KEY)).status_code for _ in range(8)]
            assert (429 in allowed) is ("config" in settings)


# -- without keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"Host": "evil.example"}, "host_refused"),
        ({"Host": "evil.example:{port}"}, "host_refused"),
        ({"Host": "127.0.0.1.evil.example:{port}"}, "host_refused"),
        ({"Host": "0.0.0.0:{port}"}, "host_refused"),
        ({"Host": "[::ffff:7f00:1].evil.example"}, "host_refused"),
        ({"Origin": "http://evil.example"}, "origin_refused"),
        ({"Origin": "http://localhost:{port}"}, "origin_refused"),
        ({"Origin": "null"}, "origin_refused"),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "origin_refused"),
        ({"Sec-Fetch-Site": "same-site"}, "origin_refused"),
        ({"Referer": "http://evil.example/page"}, "origin_refused"),
        ({"X-Forwarded-For": "203.0.113.7"}, "loopback_only"),
        ({"Forwarded": "for=127.0.0.1"}, "loopback_only"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/people"), ("POST", "/enroll"), ("DELETE", "/people/Barack%20Obama"), ("OPTIONS", "/recognize")],
)
def test_attacks_on_a_server_without_keys(reader, method, path, headers, refusal):
    sent = {name: value.format(port=reader.port) for name, value in headers.items()}
    if method == "OPTIONS":
        sent["Access-Control-Request-Method"] = "POST"
    reply = reader.request(method, path, headers=sent)
    assert (reply.status_code, code(reply)) == (403, refusal)
    assert "Access-Control-Allow-Origin" not in reply.headers
    check_headers(reply)


def test_two_host_headers(reader):
    request = f"GET /people HTTP/1.1\r\nHost: localhost:{reader.port}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert reader.raw(request.encode())[0] in (400, 403)


def test_the_servers_own_pages_and_plain_clients_go_on_as_before(reader):
    for headers in (
        {},
        {"Origin": reader.url},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Host": f"localhost:{reader.port}"},
    ):
        assert reader.get("/people", headers=headers).status_code == 200, headers
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert reader.get("/", headers=link).status_code == 200
    assert reader.get("/session").json() == {"role": "admin", "key": None}
    assert code(reader.post("/session", json={"key": "rk_abcdefgh_" + "A" * 43})) == "invalid_key"


def test_it_refuses_to_open_the_house(tmp_path):
    server = Server(tmp_path)
    for more, settings in (((), {"host": "0.0.0.0"}), (("-ho", "0.0.0.0"), {}), (("-ho", "::"), {})):
        done = template.run([*HUG, *more], env=environment(**server.settings | settings))
        assert done.returncode == 1 and "Serving on" not in done.stdout + done.stderr
        assert "keys add" in done.stderr and "RECOGNIZER_ANYONE_MAY_DO_ANYTHING" in done.stderr
        assert "Traceback" not in done.stderr


def test_damaged_keys_stop_the_start(tmp_path):
    server = Server(tmp_path)
    server.state.mkdir()
    (server.state / "access.sqlite").write_bytes(b"not a database, but long enough to be taken for something" * 20)
    done = template.run(server.command, env=environment(**server.settings))
    assert done.returncode == 1 and "file of keys" in done.stderr and "Traceback" not in done.stderr


def test_gunicorn_looks_at_every_request(tmp_path):
    """Another WSGI server listens where it likes: then it is the gate that keeps other machines out."""
    pytest.importorskip("gunicorn", reason="gunicorn is not installed; it is in requirements-dev.txt")
    with Server(tmp_path, (*GUNICORN, "--no-control-socket", "--threads", "4")) as server:
        assert server.get("/people").status_code == 200
        for headers in ({"X-Forwarded-For": "127.0.0.1"}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert server.get("/people", headers=headers).status_code == 403
        key = make_key(server, READ)
        server.wait_for(lambda: server.get("/people").status_code == 401, NOTICED)
        assert server.get("/people", headers=shows(key)).status_code == 200
        assert server.post("/enroll", data=b"x" * 100_000).status_code == 401
        check_headers(server.get("/nothing"))


def test_refused_keys_are_in_the_audit_log(tmp_path):
    with Server(tmp_path) as server:
        keys = [make_key(server, role) for role in (READ, ADMIN)]
        server.wait_for(lambda: server.get("/people").status_code == 401, NOTICED)
        for _ in range(4):
            assert server.get("/people", headers=shows("rk_nothing")).status_code == 401
        assert server.post("/session", json={"key": keys[0] + "x"}).status_code == 401
        lines = server.get("/audit?action=key_refused", headers=shows(keys[1])).json()["lines"]
        assert [(line["actor"], line["details"]["count"]) for line in lines] == [("local", 1)]
        server.restart()
        lines = server.get("/audit?action=key_refused", headers=shows(keys[1])).json()["lines"]
        assert [line["details"] for line in lines[1:]] == [{"count": 4, "reasons": {"invalid_key": 4}}]
        assert "rk_nothing" not in server.log() + (server.state / "audit/000000000001.jsonl").read_text()


# -- proxies ---------------------------------------------------------------------------------------------------------


def test_a_trusted_proxy(tmp_path):
    with Server(tmp_path, trusted_proxies="127.0.0.1", allowed_hosts="faces.example.org") as server:
        via = {"Host": "faces.example.org", "X-Forwarded-Proto": "https"}
        assert code(server.get("/people", headers={**via, "X-Forwarded-For": "203.0.113.7"})) == "loopback_only"
        assert code(server.get("/people", headers={**via, "X-Forwarded-For": "127.0.0.1, 203.0.113.7"})) == "loopback_only"
        assert code(server.get("/people", headers={**via, "X-Forwarded-For": "rubbish"})) == "bad_request"
        dodge = {"X-Forwarded-For": "203.0.113.7", "X_Forwarded_For": "127.0.0.1"}  # a proxy lets the second one through
        assert code(server.get("/people", headers=via | dodge)) == "loopback_only"
        assert code(server.get("/people", headers={**via, "X-Forwarded-For": "127.0.0.1"})) == "loopback_only"
        assert code(server.get("/people", headers=via)) == "loopback_only"
        assert server.get("/people").status_code == 200
        key = make_key(server, READ)
        server.wait_for(lambda: server.get("/people").status_code == 401, NOTICED)
        reply = server.post("/session", headers={**via, **shows(key), "Origin": "https://faces.example.org"})
        assert "__Host-recognizer_session=" in reply.headers["Set-Cookie"] and reply.headers["Set-Cookie"].endswith("; Secure")
        assert reply.headers["Strict-Transport-Security"]
        assert server.get("/people", headers={"Host": "evil.example", **shows(key)}).status_code == 403


def test_rates_by_address_cannot_be_dodged_by_a_header(tmp_path):
    with Server(tmp_path, rate_address="40/hour") as server:
        key = make_key(server, READ)
        server.wait_for(lambda: server.get("/people").status_code == 401, NOTICED)
        for n in range(60):
            reply = server.get("/people", headers={"X-Forwarded-For": f"203.0.113.{n}", **shows(key)})
        assert (reply.status_code, code(reply)) == (429, "rate_limited")
        assert 1 <= int(reply.headers["Retry-After"]) <= 3600


def test_rates_by_key(tmp_path):
    with Server(tmp_path, rate_key="3/minute") as server:
        first, second = make_key(server, READ), make_key(server, READ)
        for _ in range(2):  # a window may end while the test counts
            statuses = [server.get("/people", headers=shows(first)).status_code for _ in range(5)]
        assert 429 in statuses
        assert server.get("/people", headers=shows(second)).status_code == 200
        assert server.get("/health").status_code == 200
