"""The gate: every route has a role, and what of a request's head lets it in or not. Over sockets: tests/e2e/test_access.py."""

from __future__ import annotations

import base64
import socket
import time

import pytest

from recognizer.access import gate as auth
from recognizer.access.access_file import AccessFile
from recognizer.access.dialects import ADMIN, ANYONE, READ, WRITE
from recognizer.access.gate import AccessRules, Gate
from recognizer.access.keys import Keys
from recognizer.access.rates import Rates
from recognizer.access.route_roles import ROUTES
from recognizer.access.sessions import Sessions, csrf_token
from recognizer.core.errors import RateLimited, RoleRequired, SettingsError
from recognizer.core.headers import SECURITY_HEADERS


def make(tmp_path, *, admin_key=None, **rules) -> Gate:
    file = AccessFile(tmp_path / "access.sqlite")
    keys = Keys(file, admin_key)
    return Gate(keys, Sessions(file, keys, 3600.0), AccessRules(**rules))


def ask(gate: Gate, method="GET", path="/people", peer="127.0.0.1", host="localhost:8000", scheme="http", **headers):
    """The error code with which the gate refuses a request, or the role it gives."""
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "REMOTE_ADDR": peer,
        "wsgi.url_scheme": scheme,
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    if host is not None:
        environ["HTTP_HOST"] = host
    for name in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        if f"HTTP_{name}" in environ:
            environ[name] = environ.pop(f"HTTP_{name}")
    visit = gate.admit(environ)
    assert gate.admit(environ) is visit
    return visit.error.code if visit.error else visit.role


# -- the table -------------------------------------------------------------------------------------------------------


def test_every_route_has_a_role_and_every_role_a_route():
    import api

    dialects = api.site.gate.dialects
    routes = {
        (method, base + template)
        for base, templates in api.api.http.routes.items()
        for template, methods in templates.items()
        for method in methods
    }
    assert set(ROUTES) == {(method, path) for method, path in routes if not any(each.claims(path, method) for each in dialects)}
    assert set(ROUTES.values()) <= {ANYONE, READ, WRITE, ADMIN}


def test_head_asks_for_what_get_does(tmp_path):
    gate = make(tmp_path, admin_key="correct-horse-battery-staple")
    _, text = gate.keys.add("a", "read")
    assert ask(gate, "HEAD", "/health/ready") == "anyone"
    assert ask(gate, "HEAD", "/people") == "key_required"
    gate.allow(auth.Visit(role=READ), "HEAD", "/people")
    assert ask(gate, "HEAD", "/people", x_api_key=text) == READ


def test_what_changes_something_is_not_for_readers():
    asking = {
        ("POST", path)
        for path in ("/recognize", "/detect", "/verify", "/objects", "/session", "/archive/search", "/events/search")
    }
    asking.add(("DELETE", "/session"))
    asking.add(("POST", "/dropped"))  # only when a look is taken at what is in the bucket, which is taken in any case
    for (method, template), role in ROUTES.items():
        if method != "GET" and (method, template) not in asking:
            assert role in (WRITE, ADMIN), (method, template)


def test_a_route_that_the_table_lacks_is_for_admins(tmp_path):
    gate = make(tmp_path, admin_key="correct-horse-battery-staple")
    _, text = gate.keys.add("a", "write")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/new", "HTTP_HOST": "x", "HTTP_X_API_KEY": text}
    with pytest.raises(RoleRequired):
        gate.allow(gate.admit(environ), "GET", "/new")
    assert ask(gate, path="/new") == "key_required"


@pytest.mark.parametrize("role", [ANYONE, READ, WRITE, ADMIN])
def test_roles_contain_each_other(tmp_path, role):
    gate = make(tmp_path)
    for route, wanted in ROUTES.items():
        visit = auth.Visit(role=role)
        order = [ANYONE, READ, WRITE, ADMIN]
        if order.index(role) >= order.index(wanted):
            gate.allow(visit, *route)
        else:
            with pytest.raises(RoleRequired):
                gate.allow(visit, *route)


# -- without keys ----------------------------------------------------------------------------------------------------

EVIL, OWN = "http://evil.example", "http://localhost:8000"
LINK = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({}, "admin"),
        ({"peer": "::1", "host": "[::1]:8000"}, "admin"),
        ({"peer": "::ffff:127.0.0.1"}, "admin"),
        ({"peer": "127.3.2.1"}, "admin"),
        ({"host": None}, "admin"),
        ({"peer": "192.168.1.9"}, "loopback_only"),
        ({"peer": "172.17.0.1"}, "loopback_only"),
        ({"peer": "fe80::1"}, "loopback_only"),
        ({"peer": ""}, "loopback_only"),
        ({"peer": "192.168.1.9", "path": "/health"}, "loopback_only"),
        ({"x_forwarded_for": "203.0.113.7"}, "loopback_only"),
        ({"x_forwarded_for": "127.0.0.1"}, "loopback_only"),
        ({"forwarded": "for=203.0.113.7"}, "loopback_only"),
        ({"x_real_ip": "203.0.113.7"}, "loopback_only"),
        ({"via": "1.1 proxy"}, "loopback_only"),
        ({"host": "evil.example"}, "host_refused"),
        ({"host": "evil.example:8000"}, "host_refused"),
        ({"host": "localhost.evil.example"}, "host_refused"),
        ({"host": "192.168.1.5"}, "host_refused"),
        ({"host": "0.0.0.0:8000"}, "host_refused"),
        ({"host": ""}, "host_refused"),
        ({"host": "localhost, evil.example"}, "host_refused"),
        ({"host": "evil.example", "path": "/"}, "host_refused"),
        ({"origin": OWN}, "admin"),
        ({"origin": EVIL}, "origin_refused"),
        ({"origin": "null"}, "origin_refused"),
        ({"origin": ""}, "origin_refused"),
        ({"origin": "http://localhost:3000"}, "origin_refused"),
        ({"origin": "https://localhost:8000"}, "origin_refused"),
        ({"origin": "http://127.0.0.1:8000"}, "origin_refused"),
        ({"origin": EVIL, "path": "/"}, "origin_refused"),
        ({"origin": EVIL, "method": "POST", "path": "/enroll"}, "origin_refused"),
        ({"origin": EVIL, "method": "OPTIONS", "access_control_request_method": "POST"}, "origin_refused"),
        ({"sec_fetch_site": "same-origin"}, "admin"),
        ({"sec_fetch_site": "none"}, "admin"),
        ({"sec_fetch_site": "cross-site"}, "origin_refused"),
        ({"sec_fetch_site": "same-site"}, "origin_refused"),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}, "origin_refused"),
        (LINK, "origin_refused"),
        ({**LINK, "path": "/"}, "admin"),
        ({**LINK, "path": "/", "sec_fetch_dest": "iframe"}, "origin_refused"),
        ({"referer": EVIL + "/page"}, "origin_refused"),
        ({"referer": OWN + "/page"}, "admin"),
        ({"referer": EVIL + "/page", "path": "/"}, "admin"),
        ({"x_api_key": "anything"}, "invalid_key"),
    ],
    ids=str,
)
def test_the_open_house(tmp_path, request_, answer):
    assert ask(make(tmp_path), **request_) == answer


@pytest.mark.parametrize(
    ("rules", "request_", "answer"),
    [
        ({"hosts": ("faces.lan",)}, {"host": "faces.lan:8000"}, "admin"),
        ({"hosts": ("faces.lan",)}, {"host": "evil.faces.lan"}, "host_refused"),
        ({"cors": (EVIL,)}, {"origin": EVIL}, "admin"),
        ({"cors": (EVIL,)}, {"sec_fetch_site": "cross-site", "referer": EVIL + "/x"}, "admin"),
        ({"cors": (EVIL,)}, {"sec_fetch_site": "cross-site"}, "origin_refused"),
        ({"proxies": ("127.0.0.1/32",)}, {"x_forwarded_for": "203.0.113.7"}, "loopback_only"),
        ({"proxies": ("127.0.0.1/32",)}, {"x_forwarded_for": "127.0.0.1, 203.0.113.7"}, "loopback_only"),
        ({"proxies": ("127.0.0.1/32",)}, {"x_forwarded_for": "::1"}, "loopback_only"),
        ({"proxies": ("127.0.0.1/32",)}, {"x_forwarded_for": "127.0.0.1, 127.0.0.1"}, "loopback_only"),
        ({"proxies": ("127.0.0.1/32",)}, {"x_forwarded_proto": "https"}, "loopback_only"),
        ({"proxies": ("127.0.0.1/32",)}, {"x_forwarded_for": ""}, "loopback_only"),
        ({"proxies": ("127.0.0.1/32",)}, {}, "admin"),
        ({"proxies": ("10.0.0.0/8",)}, {"peer": "10.0.0.5", "x_forwarded_for": "127.0.0.1"}, "loopback_only"),
        ({"proxies": ("10.0.0.0/8",)}, {"peer": "10.0.0.5", "x_forwarded_for": "::1", "host": "localhost"}, "loopback_only"),
        ({"proxies": ("10.0.0.0/8",)}, {"peer": "10.0.0.5"}, "loopback_only"),
        ({"proxies": ("unix",)}, {"peer": "", "x_forwarded_for": "127.0.0.1"}, "loopback_only"),
        ({"proxies": ("10.0.0.0/8",), "anyone": True}, {"peer": "10.0.0.5", "x_forwarded_for": "127.0.0.1"}, "admin"),
        ({"proxies": ("127.0.0.1/32",)}, {"x_forwarded_for": "nonsense"}, "bad_request"),
        ({"proxies": ("10.0.0.0/8",)}, {"x_forwarded_for": "::1"}, "loopback_only"),
        ({"anyone": True}, {"peer": "203.0.113.7", "host": "192.168.1.5:8000"}, "admin"),
        ({"anyone": True}, {"peer": "203.0.113.7", "host": socket.gethostname().split(".")[0]}, "admin"),
        ({"anyone": True}, {"peer": "203.0.113.7", "host": "evil.example"}, "host_refused"),
        ({"anyone": True}, {"peer": "203.0.113.7", "host": "192.168.1.5:8000", "origin": EVIL}, "origin_refused"),
        ({"anyone": True, "hosts": ("faces.lan",)}, {"peer": "203.0.113.7", "host": "faces.lan"}, "admin"),
        ({"anyone": True}, {"peer": "", "host": "localhost"}, "admin"),
    ],
    ids=str,
)
def test_the_open_house_with_settings(tmp_path, rules, request_, answer):
    assert ask(make(tmp_path, **rules), **request_) == answer


# -- with keys -------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(tmp_path) -> Gate:
    gate = make(tmp_path)
    gate.texts = {role: gate.keys.add(role, role)[1] for role in ("read", "write", "admin")}
    return gate


def test_connections_count_under_their_address_but_for_a_proxys(tmp_path):
    gate = make(tmp_path, proxies=("10.0.0.0/8",))
    assert gate.counted_as("10.1.2.3") is None
    assert gate.counted_as("203.0.113.7") == "203.0.113.7" != gate.counted_as("203.0.113.8")
    assert gate.counted_as("2001:db8::1") == gate.counted_as("2001:db8::ffff") != gate.counted_as("2001:db8:0:1::1")
    assert gate.counted_as("") == "unix" and make(tmp_path, proxies=("unix",)).counted_as("") is None


@pytest.mark.parametrize("role", ["read", "write", "admin"])
def test_a_key_in_a_header_gives_its_role(gate, role):
    text = gate.texts[role]
    far = {"peer": "203.0.113.7", "host": "faces.example.org", "origin": EVIL}
    assert ask(gate, x_api_key=text, **far) == ask(gate, authorization=f"Bearer {text}", **far) == role
    assert ask(gate, authorization=f"bearer  {text} ", **far) == role
    assert ask(gate, x_api_key=text, authorization=f"Bearer {text}") == role
    assert ask(gate, x_api_key=text, authorization="Bearer other") == "invalid_key"
    assert ask(gate, authorization=f"Basic {text}") == "invalid_key"
    assert ask(gate, authorization=text) == "invalid_key"


def test_programs_that_read_may_show_the_key_as_a_password(gate):
    def basic(text: str, **how):
        return ask(gate, authorization="Basic " + base64.b64encode(text.encode()).decode(), **how)

    key = gate.texts["read"]
    assert basic(f"camera:{key}") == basic(f":{key}", method="HEAD") == "read"
    assert basic(f"camera:{key}", peer="203.0.113.7", host="faces.example.org") == "read"
    assert basic(f"camera:{key}x") == basic(f"{key}:") == basic(key) == basic("") == "invalid_key"
    assert ask(gate, authorization="Basic ###") == ask(gate, authorization="Basic") == "invalid_key"
    # browsers would send it along with what pages of other sites ask for
    assert basic(f"camera:{key}", sec_fetch_site="same-origin") == basic(f"camera:{key}", origin=EVIL) == "invalid_key"
    for method in ("POST", "PATCH", "DELETE"):
        assert basic(f"camera:{gate.texts['admin']}", method=method, path="/people/Ada") == "invalid_key"
    assert basic(f"camera:{key}", x_api_key=key) == "invalid_key"


def test_without_a_key_only_public_pages_are_served(gate):
    assert ask(gate) == ask(gate, peer="203.0.113.7", host="x") == "key_required"
    assert ask(gate, path="/health") == ask(gate, path="/") == ask(gate, path="/health/") == "anyone"
    for method, path in (
        ("POST", "/health"),
        ("DELETE", "/"),
        ("GET", "/health/x"),
        ("GET", "//health"),
        ("OPTIONS", "/people"),
        ("GET", "/nothing"),
        ("HEAD", "/people"),
    ):
        assert ask(gate, method=method, path=path) == "key_required", (method, path)


def test_nobody_without_a_key_makes_the_server_read_much(gate):
    login = {"method": "POST", "path": "/session"}
    assert ask(gate, **login, content_length="100") == "anyone"
    assert ask(gate, **login, content_length="1000000") == "key_required"
    assert ask(gate, **login, transfer_encoding="chunked") == "key_required"
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/enroll", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "x"}
    assert not gate.reads_body(environ)
    assert gate.reads_body({**environ, "recognizer.visit": auth.Visit()})


def test_host_is_checked_with_keys_only_where_names_are_listed(tmp_path):
    gate = make(tmp_path, hosts=("faces.lan",), admin_key="correct-horse-battery-staple")
    key = {"x_api_key": "correct-horse-battery-staple"}
    assert ask(gate, host="faces.lan", **key) == ask(gate, host="127.0.0.1", **key) == "admin"
    assert ask(gate, host="evil.example", **key) == "host_refused"


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cookie(gate) -> dict:
    token, _ = gate.sessions.begin(gate.keys.check(gate.texts["write"]))
    gate.token = token
    return {"cookie": f"a=b; recognizer_session={token}; c=d"}


def test_a_session_reads(gate, cookie):
    for ours in ({}, {"sec_fetch_site": "same-origin"}, {"origin": OWN}):
        assert ask(gate, **cookie, **ours) == "write"
    for foreign in (
        {"origin": EVIL},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"referer": EVIL},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
    ):
        assert ask(gate, **cookie, **foreign) == "origin_refused", foreign
    assert ask(gate, path="/", **cookie, sec_fetch_site="cross-site") == "anyone"


def test_a_session_writes_with_the_token_of_its_page_alone(gate, cookie):
    post = {"method": "POST", "path": "/enroll", **cookie}
    right = csrf_token(gate.token)
    assert ask(gate, **post, x_csrf_token=right, origin=OWN) == "write"
    assert ask(gate, **post, x_csrf_token=right, sec_fetch_site="same-origin") == "write"
    assert ask(gate, **post, x_csrf_token=right) == "csrf_refused"
    assert ask(gate, **post, origin=OWN) == "csrf_refused"
    assert ask(gate, **post, x_csrf_token=right[:-1], origin=OWN) == "csrf_refused"
    assert ask(gate, **post, x_csrf_token="\udcff", origin=OWN) == "csrf_refused"
    assert ask(gate, **post, x_csrf_token=gate.token, origin=OWN) == "csrf_refused"
    assert ask(gate, **post, x_csrf_token=right, origin=EVIL) == "origin_refused"


def test_listed_sites_get_no_session(gate, cookie):
    gate.rules = AccessRules(cors=(EVIL,))
    assert ask(gate, **cookie, origin=EVIL) == "origin_refused"


def test_no_site_can_log_a_browser_in(gate):
    login = {"method": "POST", "path": "/session"}
    for foreign in ({"origin": EVIL}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        assert ask(gate, **login, **foreign) == "origin_refused"
    assert ask(gate, **login, origin=OWN) == "anyone"


def test_a_cookie_that_is_no_session_is_nobody(gate):
    for text in ("recognizer_session=x", "recognizer_session=", "=", "\0", "recognizer_session=" + "A" * 43):
        assert ask(gate, cookie=text) == "key_required"


def test_under_https_the_cookie_has_its_own_name(gate, cookie):
    assert ask(gate, scheme="https", **cookie) == "key_required"
    assert ask(gate, scheme="https", cookie=f"__Host-recognizer_session={gate.token}") == "write"
    shown = auth.set_cookie(auth.Visit(scheme="https"), "t", 60)
    assert shown == "__Host-recognizer_session=t; Max-Age=60; Path=/; HttpOnly; SameSite=Strict; Secure"
    assert "Secure" not in auth.set_cookie(auth.Visit(), "t", 60) and "Max-Age=0" in auth.set_cookie(auth.Visit(), None)


def test_a_watcher_is_sent_away_when_the_key_is_revoked(gate, monkeypatch):
    monkeypatch.setattr(auth, "_STILL_SECONDS", 0.0)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/stream",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "x",
        "HTTP_X_API_KEY": gate.texts["read"],
    }
    gate.admit(environ)
    still = environ[auth.STILL_ALLOWED]
    assert still()
    gate.keys.revoke(gate.texts["read"][3:11])
    assert not still()


def test_a_watcher_of_the_open_house_is_sent_away_when_there_are_keys(tmp_path, monkeypatch):
    monkeypatch.setattr(auth, "_STILL_SECONDS", 0.0)
    gate = make(tmp_path)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/stream", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
    gate.admit(environ)
    assert environ[auth.STILL_ALLOWED]()
    gate.keys.add("a", "read")
    assert not environ[auth.STILL_ALLOWED]()


# -- rates -----------------------------------------------------------------------------------------------------------


def test_rates_per_key_and_per_address(gate):
    gate.rules = AccessRules(rate_key="3/hour", rate_address="5/hour")
    first, second = gate.texts["read"], gate.texts["write"]
    assert [ask(gate, x_api_key=first) for _ in range(4)] == ["read"] * 3 + ["rate_limited"]
    assert ask(gate, x_api_key=second) == "write"
    assert ask(gate, x_api_key=second) == ask(gate, path="/health") == "rate_limited"  # the address has had its five
    assert ask(gate, x_api_key=second, peer="203.0.113.7") == "write"
    assert ask(gate, x_api_key=first, peer="203.0.113.7") == "rate_limited"


@pytest.mark.slow
def test_too_many_wrong_keys_stop_being_hashed(gate):
    assert ask(gate, x_api_key=gate.texts["read"]) == "read"
    answers = [ask(gate, x_api_key=f"rk_abcdefgh_{n:043}") for n in range(40)]
    assert answers[0] == "invalid_key" and answers[-1] == "rate_limited"
    assert ask(gate, x_api_key=gate.texts["read"]) == "read", "whoever is known is not kept out"
    assert ask(gate, x_api_key="wrong", peer="203.0.113.7") == "invalid_key"


@pytest.mark.slow
def test_right_keys_of_many_devices_are_no_attempts(tmp_path):
    """After a restart none of them is known yet."""
    keys = Keys(AccessFile(tmp_path / "access.sqlite"))
    texts = [keys.add(f"device {n}", "read")[1] for n in range(35)]
    gate = make(tmp_path)
    assert [ask(gate, x_api_key=text) for text in texts] == ["read"] * 35


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_clock_that_is_set_back_keeps_nobody_out(monkeypatch):
    """Windows end by a clock that only grows."""
    passed = Clock()
    rates = Rates(passed)
    for _ in range(2):
        rates.hit("2/minute", "key", "a")
    with pytest.raises(RateLimited) as refused:
        rates.hit("2/minute", "key", "a")
    assert refused.value.retry_after == 60 and refused.value.details == {"limit": "2/minute"}
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    rates.hit("2/minute", "key", "b")
    rates.check("2/minute", "key", "b")
    passed.now += 61
    rates.hit("2/minute", "key", "a")


def test_counters_are_bounded():
    passed = Clock()
    rates = Rates(passed)
    for n in range(25_000):
        passed.now += 1
        rates.hit("1/second", "address", str(n))
    with pytest.raises(RateLimited):
        rates.hit("1/second", "address", "24999")


def test_no_rate_is_counted_without_keys(tmp_path):
    gate = make(tmp_path, rate_key="1/hour", rate_address="1/hour")
    assert [ask(gate) for _ in range(5)] == ["admin"] * 5


def test_retry_after_tells_when_the_window_ends(gate):
    gate.rules = AccessRules(rate_key="1/minute")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/people", "HTTP_HOST": "x", "HTTP_X_API_KEY": gate.texts["read"]}
    errors = [gate.admit(dict(environ)).error for _ in range(3)]
    limited = [error for error in errors if error]
    assert limited and isinstance(limited[-1], RateLimited) and 1 <= limited[-1].retry_after <= 60


# -- replies, starting -----------------------------------------------------------------------------------------------


def test_headers_of_replies(tmp_path):
    gate = make(tmp_path, cors=("https://app.example.org",))
    assert gate.headers(None) == SECURITY_HEADERS
    plain = gate.headers(auth.Visit(host="faces.lan"))
    assert SECURITY_HEADERS.items() <= plain.items() and not [name for name in plain if name.startswith("Access-Control")]
    assert plain["Vary"] == "Origin" and "Strict-Transport-Security" not in plain
    assert "Strict-Transport-Security" in gate.headers(auth.Visit(scheme="https", host="faces.lan"))
    assert "Strict-Transport-Security" not in gate.headers(auth.Visit(scheme="https", host="localhost"))
    listed = gate.headers(auth.Visit(cors="https://app.example.org"))
    assert listed["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "Access-Control-Allow-Credentials" not in listed


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1"])
def test_no_host_but_loopback_without_keys(tmp_path, host):
    gate = make(tmp_path)
    with pytest.raises(SettingsError, match="ANYONE_MAY_DO_ANYTHING"):
        gate.check_host(host)
    make(tmp_path, anyone=True).check_host(host)
    gate.keys.add("a", "admin")
    gate.check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8", "::1"])
def test_loopback_needs_no_keys(tmp_path, host):
    make(tmp_path).check_host(host)
