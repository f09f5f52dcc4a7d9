"""Malformed URLs, and hosts in every notation."""

import ipaddress

import pytest

from recognizer.core.errors import InvalidUrl
from recognizer.fetching.fetcher import Fetcher
from recognizer.fetching.urls import parse_host, parse_url

INVALID_URLS = [
    "", " ", "photo.jpg", "//example.com/x", "ftp://example.com/x", "file:///etc/passwd", "gopher://127.0.0.1/",
    "data:image/png;base64,AAAA", "http://", "http:///x", "http:example.com", "http://:80/", "http://good@127.0.0.1/",
    "http://good.example:pw@127.0.0.1/", "http://127.0.0.1\\@example.com/", "http://example.com\\@127.0.0.1/",
    "http://example.com/a\\b", "http:\\\\127.0.0.1\\", "http://exam\tple.com/", "http://example.com/\r\nHost: x",
    "http://example.com/\x00", "http://exa\nmple.com/", "http://127.0.0.1\t.example/", "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/", "http://[::1/", "http://::1/", "http://[127.0.0.1]/", "http://[::1]x/",
    "http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/", "http://example.com:8_0/",
    "http://example.com:８０/", "http://example.com:80:90/", "http://1.2.3.4.5/", "http://256.1.1.1/",
    "http://1.2.3.256/",
    "http://4294967296/", "http://09.1.1.1/", "http://1_27.0.0.1/", "http://0xg.1/", "http://foo.0x/",
    "http://127.0.0.1%2f.example.com/", "http://%31%32%37.0.0.1/", "http://exa mple.com/", "http://a..b/",
    "http://-a.example/", "http://" + "a" * 64 + ".example/", "http://" + "a." * 130 + "example/", "http://a\u2100b/",
    "http://٣.0.0.1/", "http://example.com/" + "a" * 8192, "http://\ud800.example/", "http://example.com/\ud800",
]  # fmt: skip


@pytest.mark.parametrize("url", INVALID_URLS)
def test_a_malformed_url_is_refused_before_anything_is_looked_up(url):
    asked = []
    with pytest.raises(InvalidUrl):
        parse_url(url)
    with pytest.raises(InvalidUrl):
        Fetcher(resolver=lambda *place, **_: asked.append(place)).get(url)
    assert asked == []


@pytest.mark.parametrize("url", [None, b"http://example.com/", 7])
def test_something_other_than_text_is_refused(url):
    with pytest.raises(InvalidUrl):
        parse_url(url)


@pytest.mark.parametrize(
    ("written", "url", "authority"),
    [
        ("HTTP://Example.COM", "http://example.com/", "example.com"),
        (" http://example.com:80/a ", "http://example.com/a", "example.com"),
        ("https://example.com.:443/?q=a b", "https://example.com/?q=a%20b", "example.com"),
        ("https://example.com:80/", "https://example.com:80/", "example.com:80"),
        ("http://[2606:4700:0:0::1111]:8080/x", "http://[2606:4700::1111]:8080/x", "[2606:4700::1111]:8080"),
        ("http://m\u00fcnchen.example/", "http://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example"),
        ("http://example.com/a/./b/../c/%2E%2e/d", "http://example.com/a/d", "example.com"),
        ("http://example.com/..", "http://example.com/", "example.com"),
        ("http://0x8.010.2056/", "http://8.8.8.8/", "8.8.8.8"),
        ("http://example.com/a#part", "http://example.com/a", "example.com"),
    ],
)
def test_a_url_is_normalised(written, url, authority):
    parsed = parse_url(written)
    assert (parsed.url, parsed.authority) == (url, authority)
    assert parse_url(parsed.url) == parsed


@pytest.mark.parametrize(
    ("netloc", "host", "address"),
    [
        ("camera.lan:554", "camera.lan", None),
        ("Camera_1.", "camera_1", None),
        ("127.1", "127.0.0.1", "127.0.0.1"),
        ("0x7f000001:80", "127.0.0.1", "127.0.0.1"),
        ("[::1]:554", "::1", "::1"),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_host_and_its_address(netloc, host, address):
    assert parse_host(netloc) == (host, address and ipaddress.ip_address(address))
