"""Hosts, origins, addresses and proxies, in every spelling that attackers and careless clients use."""

from __future__ import annotations

import pytest

from recognizer.core.origins import (
    Networks,
    client_address,
    is_address,
    is_loopback,
    normal_host,
    normal_origin,
    parse_address,
    rate_group,
)


@pytest.mark.parametrize(
    ("given", "host", "loopback"),
    [
        ("localhost", "localhost", True),
        ("LocalHost:8000", "localhost", True),
        ("localhost.", "localhost", True),
        ("app.localhost:80", "app.localhost", True),
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("127.9.9.9", "127.9.9.9", True),
        ("[::1]:8000", "::1", True),
        ("[0:0:0:0:0:0:0:1]", "::1", True),
        ("192.168.1.5:8000", "192.168.1.5", False),
        ("0.0.0.0:8000", "0.0.0.0", False),
        ("[::]", "::", False),
        ("[2001:db8::1]", "2001:db8::1", False),
        ("evil.example", "evil.example", False),
        ("localhost.evil.example", "localhost.evil.example", False),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
        ("127-0-0-1.evil.example", "127-0-0-1.evil.example", False),
        ("notlocalhost", "notlocalhost", False),
        ("my_host:1", "my_host", False),
    ],
)
def test_hosts(given, host, loopback):
    assert normal_host(given) == host
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        ":80",
        "a b",
        "a,b",
        "localhost, evil.example",
        "user@localhost",
        "localhost/",
        "localhost:",
        "localhost:x",
        "localhost:99999",
        "localhost:80:80",
        "[::1",
        "::1",
        "[localhost]",
        "[::1]x",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "1.2.3.4.5",
        "-a",
        "a..b",
        ".localhost",
        "lоcalhost",
        "a" * 300,
        "localhost\0",
        "%6cocalhost",
    ],
    ids=ascii,
)
def test_what_is_no_host(given):
    if given == "localhost:":
        assert normal_host(given) == "localhost"  # RFC 3986 allows a port of nothing
        return
    with pytest.raises(ValueError):
        normal_host(given)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("HTTP://LocalHost:80/", "http://localhost"),
        ("https://app.example.org:443", "https://app.example.org"),
        ("https://app.example.org:80", "https://app.example.org:80"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_origins(given, origin):
    assert normal_origin(given) == origin


@pytest.mark.parametrize(
    "given",
    [
        "",
        "null",
        "*",
        "localhost",
        "http://",
        "file://",
        "http://a/b",
        "http://a?b",
        "http://a#b",
        "http://u@a",
        "ftp://a",
        "http://[::1",
        "http://a b",
        "http://a, http://b",
    ],
)
def test_what_is_no_origin(given):
    with pytest.raises(ValueError):
        normal_origin(given)


def test_addresses():
    assert parse_address("::ffff:127.0.0.1").is_loopback and parse_address("::ffff:10.0.0.1").version == 4
    assert parse_address("fe80::1%eth0").version == 6
    assert is_address("::1") and not is_address("localhost")
    assert (
        rate_group(parse_address("2001:db8::1"))
        == rate_group(parse_address("2001:db8::ffff"))
        != rate_group(parse_address("2001:db8:0:1::1"))
    )
    assert rate_group(parse_address("10.0.0.1")) != rate_group(parse_address("10.0.0.2"))
    assert rate_group(None) == "unix"


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "127.0.0.1, 203.0.113.7", "203.0.113.7"),  # what the client itself put in front
        ("10.0.0.1", "203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.7:5000", "203.0.113.7"),
        ("10.0.0.1", "[2001:db8::1]:5000", "2001:db8::1"),
        ("203.0.113.7", "127.0.0.1", "203.0.113.7"),  # whom nobody trusts cannot say who they are
        ("::1", "127.0.0.1", "::1"),
        ("10.0.0.1", " , ", "10.0.0.1"),
    ],
)
def test_who_is_behind_a_proxy(peer, forwarded, found):
    assert client_address(parse_address(peer), forwarded, Networks(("10.0.0.0/8",))) == parse_address(found)


@pytest.mark.parametrize("forwarded", ["unknown", "evil.example", "203.0.113.7, x", "1.2.3.4.5"])
def test_a_proxy_that_passes_on_nonsense(forwarded):
    with pytest.raises(ValueError):
        client_address(parse_address("10.0.0.1"), forwarded, Networks(("10.0.0.0/8",)))


def test_who_comes_through_a_socket_file():
    assert client_address(None, "203.0.113.7", Networks(("unix",))) == parse_address("203.0.113.7")
    assert client_address(None, "203.0.113.7", Networks(())) is None
    assert client_address(None, "", Networks(("unix",))) is None
