"""What names a camera: how it is read, what is shown of it, and where it may lead."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import numpy as np
import pytest

from recognizer.core.errors import AddressRefused, InvalidSource
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import CameraSource, SourceView, parse_source, pattern_size, split_url


@pytest.mark.parametrize(
    ("text", "kind", "address", "shown"),
    [
        (0, "device", "0", "webcam 0"),
        ("0", "device", "0", "webcam 0"),
        (" 12 ", "device", "12", "webcam 12"),
        ("/dev/video3", "device", "3", "webcam 3"),
        ("/dev/v4l/by-id/usb-cam", "device", "/dev/v4l/by-id/usb-cam", "device usb-cam"),
        ("test:", "pattern", "test:", "test:"),
        ("TEST:640x480@12.5", "pattern", "test:640x480@12.5", "test:640x480@12.5"),
        ("rtsp://cam/1", "rtsp", "rtsp://cam/1", "rtsp://cam/1"),
        ("RTSPS://cam/1", "rtsp", "RTSPS://cam/1", "rtsps://cam/1"),
        ("rtmp://cam/live/key", "rtsp", "rtmp://cam/live/key", "rtmp://cam/live/***"),
        ("http://cam:8080/video", "http", "http://cam:8080/video", "http://cam:8080/video"),
        ("https://cam/video", "http", "https://cam/video", "https://cam/video"),
        ("clip.mp4", "file", "clip.mp4", "clip.mp4"),
        ("/srv/secret/clip.mp4", "file", "/srv/secret/clip.mp4", "clip.mp4"),
        ("file:clip.mp4", "file", "clip.mp4", "clip.mp4"),
        ("file:///srv/a%20b.mp4", "file", "/srv/a b.mp4", "a b.mp4"),
        ("file:0", "file", "0", "0"),
    ],
)
def test_what_names_a_source(text, kind, address, shown):
    source = parse_source(text)
    assert (source.kind, source.address, source.shown, source.loop) == (kind, address, shown, True)
    assert not parse_source(text, loop=False).loop


def test_a_folder_is_stills(tmp_path):
    assert parse_source(str(tmp_path)).kind == "stills"
    assert parse_source(tmp_path).kind == "stills"


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [("once:clip.mp4", "file", "clip.mp4"), ("Once: file:once:a.mp4", "file", "once:a.mp4"), ("once:.", "stills", ".")],
)
def test_a_recording_that_is_played_once(text, kind, address):
    source = parse_source(text)
    assert (source.kind, source.address, source.loop) == (kind, address, False)


@pytest.mark.parametrize(
    "text",
    [
        "once:",
        "once:0",
        "once:test:",
        "once:rtsp://cam/1",
        "once:/dev/video0",
        "",
        "  ",
        None,
        True,
        1.5,
        b"0",
        -1,
        "-1",
        64,
        "999999999999",
        "ftp://cam/x",
        "gopher://x",
        "concat://x",
        "rtsp://",
        "rtsp:///path",
        "http://cam:0/",
        "http://cam:65536/",
        "http://cam:port/",
        "http://ca m/",
        "rtsp://[::1",
        "rtsp://[fe80::1%25eth0]/",
        "rtsp://cam\\@other/",
        "rtsp://a\nb/",
        "x\0y",
        "test:1x1",
        "test:99999x99999",
        "test:640x480@0",
        "test:640x480@9999",
        "test:640",
        "test:x",
        "file:",
        "x" * 5000,
    ],
)
def test_what_names_nothing_is_refused_without_repeating_it(text):
    with pytest.raises(InvalidSource) as caught:
        parse_source(text)
    if isinstance(text, str) and len(text) > 8:
        assert text not in caught.value.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:s3cret@cam.local:8554/Streaming/Channels/101", "rtsp://***@cam.local:8554/Streaming/Channels/101"),
        ("rtsp://admin@cam/1", "rtsp://***@cam/1"),
        ("rtsp://:s3cret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://a:p@s3cret@cam/1", "rtsp://***@cam/1"),
        ("http://cam/videostream.cgi?user=admin&pwd=s3cret", "http://cam/videostream.cgi?user=***&pwd=***"),
        ("http://cam/v?s3cret", "http://cam/v?***"),
        ("rtsp://cam/user=admin_password=s3cret_channel=1.sdp", "rtsp://cam/***"),
        ("rtsps://cam:7441/s3cretAbCd1234?enableSrtp", "rtsps://cam:7441/***?***"),
        ("rtmp://live.example/app/s3cret", "rtmp://live.example/app/***"),
        ("rtsp://cam/1#s3cret", "rtsp://cam/1"),
        ("rtsp://u:s3cret@[2001:db8::1]:554/1", "rtsp://***@[2001:db8::1]/1"),
        ("rtsp://u:s3%20cret@cam", "rtsp://***@cam/"),
    ],
)
def test_nothing_secret_is_shown(url, shown):
    source = parse_source(url)
    assert source.shown == shown and source.address == url
    assert "s3cret" not in repr(source) + str(source) and "s3cret" not in repr(split_url(url)).replace(split_url(url).path, "")


def test_the_url_that_is_opened_names_the_checked_address_and_quotes_the_password():
    url = split_url("rtsp://ad min:p%40ss:w@cam.local/a b?x=1")
    assert (url.user, url.password) == ("ad min", "p@ss:w")
    assert url.at(ipaddress.ip_address("192.168.1.7")) == "rtsp://ad%20min:p%40ss%3Aw@192.168.1.7:554/a%20b?x=1"
    assert split_url("rtsp://cam").at(ipaddress.ip_address("fd00::1")) == "rtsp://[fd00::1]:554/"
    assert url.plain == "rtsp://cam.local/a%20b?x=1"


def test_sizes_of_patterns():
    assert pattern_size("test:") == (1280, 720, 30.0)
    assert pattern_size("test:640x480") == (640, 480, 30.0)
    assert pattern_size("test:@5") == (1280, 720, 5.0)


LAN = ["10.1.2.3", "172.16.0.1", "192.168.1.20", "fd12::1", "::ffff:192.168.1.20", "64:ff9b::c0a8:101"]
NEVER = [
    "127.0.0.1",
    "::1",
    "169.254.169.254",
    "fe80::1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "100.100.100.200",
    "::ffff:127.0.0.1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "192.0.0.192",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "255.255.255.255",
]
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1"]


@pytest.mark.parametrize(
    ("places", "yes", "no"),
    [
        ([], [], LAN + NEVER + PUBLIC),
        (["lan"], LAN, NEVER + PUBLIC),
        (["public"], PUBLIC, LAN + NEVER),
        (["lan", "public"], LAN + PUBLIC, NEVER),
        (["127.0.0.0/8"], ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1"], LAN + PUBLIC + ["::1"]),
        (["fd00:ec2::254"], ["fd00:ec2::254"], LAN),
    ],
)
def test_reach(places, yes, no):
    reach = Reach(places)
    assert [text for text in yes if not reach.permits(ipaddress.ip_address(text))] == []
    assert [text for text in no if reach.permits(ipaddress.ip_address(text))] == []


def test_everywhere_is_everywhere():
    assert all(Reach.everywhere().permits(ipaddress.ip_address(text)) for text in LAN + NEVER + PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://127.0.0.1/",
        "rtsp://localhost/",
        "http://camera.localhost/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://017700000001/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest",
        "rtsp://u:s3cret@127.1/",
        "http://１２７.0.0.1/",
    ],
)
def test_addresses_that_are_not_allowed_are_refused_when_added(url):
    with pytest.raises(AddressRefused) as caught:
        Reach(["lan"]).check_source(parse_source(url))
    assert "RECOGNIZER_CAMERA_ALLOW" in caught.value.message and "s3cret" not in caught.value.message


def test_what_leads_nowhere_needs_no_reach():
    for source in (
        parse_source(0),
        parse_source("test:"),
        CameraSource("file", "x", True, "x"),
        parse_source("rtsp://192.168.1.9/"),
    ):
        Reach(["lan"]).check_source(source)


def test_a_path_is_expanded():
    assert parse_source("~/clip.mp4").address == str(Path.home() / "clip.mp4")


@pytest.mark.parametrize(
    "text",
    [
        "192.168.1.20",
        "192.168.1.20/Streaming/Channels/101",
        "192.168.1.20:554/main",
        "admin:s3cret@192.168.1.20",
        "admin:s3cret@camera/main",
        "camera.local",
        "camera.local/video.mjpg",
        "camera:8080/video",
        "www.example.com/video",
        "[fe80::1]/main",
    ],
)
def test_an_address_without_scheme_is_told_apart_from_a_file(text):
    with pytest.raises(InvalidSource) as caught:
        parse_source(text)
    assert (
        caught.value.message == "expected rtsp:// or http:// before the address of a camera, as in rtsp://192.168.1.20/stream"
    )


def test_a_file_may_be_called_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("192.168.1.20").write_bytes(b"")
    assert parse_source("192.168.1.20").kind == "file"
    for text in ("file:192.168.1.21", "clip.mp4", "photo@2x.mp4", "2026.11.29/clip.mp4", "day 1.2.3.4.mp4"):
        assert parse_source(text).kind == "file", text


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("turn90:0", SourceView(90)),
        ("turn180:rtsp://u:s3cret@192.168.1.9/", SourceView(180)),
        ("TURN270:once:clip.mp4", SourceView(270)),
        ("mirror:test:", SourceView(mirror=True)),
        ("crop10,0,90,50.5:0", SourceView(crop=(10, 0, 90, 50.5))),
        ("crop0,0,50,100:mirror:turn90:file:clip.mp4", SourceView(90, True, (0, 0, 50, 100))),
    ],
)
def test_a_view_stands_before_the_source(text, view):
    source = parse_source(text)
    assert source.view == view and "s3cret" not in source.shown
    plain = parse_source(text[re.match(r"(?:[a-z]+[0-9.,]*:)*?(?=0|rtsp|once|test|file)", text, re.I).end() :])
    assert (source.kind, source.address, source.loop) == (plain.kind, plain.address, plain.loop)
    assert source.shown.endswith(plain.shown) and source.shown != plain.shown


@pytest.mark.parametrize(
    "text", ["turn90:turn90:0", "mirror:mirror:0", "crop0,0,0,10:0", "crop10,0,5,10:0", "crop1,2,3:0", "crop0,0,101,9:0"]
)
def test_a_view_that_makes_no_sense_is_refused(text):
    with pytest.raises(InvalidSource):
        parse_source(text)


def test_a_view_turns_then_mirrors_then_crops():
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    assert np.array_equal(SourceView(90).apply(pixels), pixels[::-1].transpose(1, 0, 2))
    assert np.array_equal(SourceView(180).apply(pixels), pixels[::-1, ::-1])
    assert np.array_equal(SourceView(270).apply(pixels), pixels[:, ::-1].transpose(1, 0, 2))
    assert np.array_equal(SourceView(mirror=True).apply(pixels), pixels[:, ::-1])
    assert np.array_equal(SourceView(crop=(25, 50, 75, 100)).apply(pixels), pixels[3:, 2:6])
    turned = pixels[::-1].transpose(1, 0, 2)
    assert np.array_equal(SourceView(90, True, (50, 0, 100, 50)).apply(pixels), turned[:4, ::-1][:, 3:])
    assert SourceView(crop=(0, 0, 0.1, 0.1)).apply(pixels).shape == (1, 1, 3)
    assert SourceView(90, True).apply(pixels).flags.c_contiguous
