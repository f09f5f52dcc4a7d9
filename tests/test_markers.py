"""The markers say what they promise: `tests.markers` sets them, and watches what the tests do."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading

import pytest

from . import markers
from .brokers import Broker
from .e2e.serving import HUG, Server
from .streams import HttpCamera, rtsp_server


def test_the_tests_of_this_run_have_the_markers_that_follow_from_what_they_use(request):
    for item in request.session.items:
        own = {marker.name for marker in item.iter_markers()}
        fixtures = set(getattr(item, "fixturenames", ()))
        assert "e2e" in own or "e2e" not in item.path.parts, item.nodeid
        assert "browser" in own or "chromium" not in fixtures, item.nodeid
        if isinstance(item, pytest.Function) and not own & {"e2e", "network"}:
            made = [each[-1].cached_result for each in item._fixtureinfo.name2fixturedefs.values()]
            assert not any(each and isinstance(each[0], (Server, Broker, HttpCamera)) for each in made), item.nodeid


@pytest.mark.parametrize("peer", [Broker, HttpCamera, rtsp_server])
def test_peers_are_known(peer):
    assert markers.serves(peer)


def uses_a_helper():
    return helper()


def helper():
    return [http.server.ThreadingHTTPServer for _ in range(1)]


class Serving:
    def __init__(self):
        self.made = helper()


class InheritsFromIt(Serving):
    def __init__(self):
        super().__init__()


def uses_nothing():
    return sys.version


def test_helpers_are_followed():
    assert markers.serves(helper) and markers.serves(uses_a_helper) and markers.serves(InheritsFromIt)
    assert not markers.serves(uses_nothing)


def test_a_test_without_the_marker_may_not_listen():
    probe = socket.socket()
    with probe, pytest.raises(markers.Unmarked, match="lacks the marker network or e2e"):
        getattr(probe, "listen")()  # noqa: B009, the name would give this test the marker


def test_a_thread_that_listens_without_the_marker_fails_the_test_at_its_end():
    def serve() -> None:
        with socket.socket() as probe:
            getattr(probe, "listen")()  # noqa: B009
        served.set()

    served = threading.Event()
    threading.Thread(target=serve, daemon=True).start()
    assert served.wait(30)  # whoever waits for a server's thread waits not for ever
    with pytest.raises(markers.Unmarked, match="lacks the marker network or e2e"):
        markers.WATCH.check()


@pytest.mark.network
def test_a_test_with_the_marker_may_listen():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize(
    "command, marker",
    [
        (HUG, "e2e"),
        ([sys.executable, "-m", "recognizer", "serve"], "e2e"),
        (["/usr/sbin/mosquitto", "-v"], "network or e2e"),
        (["chromium", "--headless"], "browser"),
    ],
)
def test_a_test_without_the_marker_may_not_run_a_server_or_a_browser(command, marker):
    with pytest.raises(markers.Unmarked, match=f"lacks the marker {marker}"):
        subprocess.run(command)


def test_other_programs_need_no_marker():
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout.strip() == b"1"
