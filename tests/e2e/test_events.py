"""Events over HTTP: pages, streams that go on where they broke off, readers that are slow or gone, webhooks of a real server.

Where a test makes events, it writes the log itself: the server then reads what another process writes.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from recognizer.events.event_log import EventLog
from recognizer.photos import images

from ..brokers import MOSQUITTO, Broker, Listener
from ..receivers import Receiver
from .homes import PICTURE
from .serving import Server, code
from .stages import Stage


def event(kind: str = "appeared", subject: str | None = "Zoë", camera: str = "door", **more) -> dict:
    return {
        "id": 0,
        "kind": kind,
        "camera": camera,
        "time": "2026-11-21T10:00:00.000Z",
        "subject": subject,
        "track": 1,
        "distance": 0.4,
        "false_match_rate": 1e-6,
        "box": None,
        "thumbnail": None,
        **more,
    }


class Stream:
    """A reader of Server-Sent Events, as a browser is one, on a socket of its own."""

    def __init__(self, server: Server, query: str = "", **headers):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        lines = [f"GET /events{query} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.reply = http.client.HTTPResponse(self.socket)
        self.reply.begin()

    def next(self) -> dict:
        """The next event's fields; comments and the like are passed over."""
        fields: dict[str, str] = {}
        while True:
            line = self.reply.readline().decode()
            assert line, "the stream ended"
            name, _, value = line.rstrip("\n").partition(": ")
            if line == "\n" and "data" in fields:
                return fields
            if line != "\n" and name:
                fields[name] = value

    def close(self) -> None:
        self.reply.close()
        self.socket.close()


@pytest.fixture(scope="module")
def _served(tmp_path_factory) -> Iterator[tuple[Server, EventLog]]:
    folder = tmp_path_factory.mktemp("events")
    log = EventLog(folder / "state" / "events")
    with Server(folder) as server:
        yield server, log
    log.close()


@pytest.fixture
def served(_served) -> tuple[Server, EventLog]:
    return _served


def followers(server: Server) -> int:
    return server.get("/health").json()["events"]["followers"]


def test_pages(served):
    server, log = served
    first = log.append([event(), event("left"), event("unknown", None, "yard"), event("camera_lost", None)]) - 3
    log.append([event("left", None, "yard", appearance=first + 2)])

    def ids(**params):
        reply = server.get("/events", params={"format": "json", **params})
        assert reply.status_code == 200 and reply.headers["Content-Type"] == "application/json"
        return [each["id"] - first for each in reply.json()["events"]]

    assert ids(after=first - 1) == [0, 1, 2, 3, 4] and ids(after=first, limit=2) == [1, 2]
    assert ids(limit=2) == [3, 4] and ids(before=first + 3, limit=2) == [1, 2] and ids(after=first, before=first + 2) == [1]
    assert ids(camera="yard", after=first - 1) == [2, 4] and ids(subject="Zoë", after=first - 1) == [0, 1]
    assert ids(kind="left,camera_lost", after=first - 1) == [1, 3, 4] and ids(after=10**9) == []
    assert ids(after=first - 1, since="2026-11-21T10:00:00Z", until="2026-11-21T10:00:00.000Z") == [0, 1, 2, 3, 4]
    assert ids(after=first - 1, until="2026-11-21T09:59:59Z") == ids(after=first - 1, since="2026-11-23") == []
    assert ids(since="2026-11-20", until="2026-11-22", limit=1) == [4]
    table = server.get("/events", params={"format": "csv", "after": first - 1, "camera": "door", "subject": "Zoë"})
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8" and "events.csv" in table.headers["Content-Disposition"]
    assert table.content.decode().split("\r\n")[:2] == [
        "id,time,kind,camera,subject,since,seconds,distance,false_match_rate,reason,zones",
        f"{first},2026-11-21T10:00:00.000Z,appeared,door,Zoë,,,0.4,1e-06,,",
    ]
    assert server.get("/events", headers={"Accept": "text/csv"}).content.startswith(b"id,time")
    there = log.append([event() | {"zones": ["Path", "Front porch"]}, event("entered") | {"zones": ["Gate"]}]) - 1
    assert ids(zone="front  PORCH") == [there - first] and ids(zone="gate", kind="entered") == [there + 1 - first]
    assert ids(zone="porch") == []
    rows = server.get("/events", params={"format": "csv", "zone": "Path"}).content.decode().split("\r\n")
    assert len(rows) == 3 and rows[1].endswith(",Path; Front porch")
    page = server.get("/events", headers={"Accept": "application/json"}).json()
    assert page["last"] == there + 1 and page["first"] == 1
    assert server.get(f"/events/{first}").json() == event() | {"id": first}


@pytest.mark.parametrize(
    "query",
    [
        "?kind=leaves",
        "?after=x",
        "?after=-1",
        "?limit=0&format=json",
        "?limit=1001&format=json",
        "?format=xml",
        "?limit=5",
        "?before=5",
        "?since=2026-11-20",
        "?format=json&until=soon",
        "?person=Ada",
        "?after=1&after=2",
    ],
)
def test_questions_that_make_no_sense(served, query):
    reply = served[0].get("/events" + query)
    assert reply.status_code == 400 and code(reply) == "invalid_parameter"


def test_a_header_that_makes_no_sense(served):
    assert served[0].get("/events", headers={"Last-Event-ID": "x"}).status_code == 400


def test_pictures(served):
    server, log = served
    number = log.append([event()], [PICTURE])
    shown = server.get(f"/events/{number}").json()
    reply = server.get(shown["thumbnail"])
    assert reply.content == PICTURE and reply.headers["Content-Type"] == "image/jpeg"
    for path in (f"matches/{number}.jpg", "latest/zoe.jpg", "latest/door.jpg"):  # as Double Take has it
        picture = server.get(f"/api/storage/{path}")
        assert picture.content == reply.content and picture.headers["Content-Type"] == "image/jpeg"
    seen = log.append([event(scene_faces=1)], [None], [PICTURE])
    scene = server.get(server.get(f"/events/{seen}").json()["scene"])
    assert scene.content == PICTURE and scene.headers["Content-Type"] == "image/jpeg"
    for path in (f"/events/{seen + 1}/thumbnail.jpg", f"/events/{seen + 1}", f"/events/{number}/scene.jpg"):
        assert code(server.get(path)) == "event_not_found"
    assert server.get("/events/x/thumbnail.jpg").status_code == 400


def test_a_stream_and_going_on_where_it_broke_off(served):
    server, log = served
    server.wait_for(lambda: followers(server) == 0)
    stream = Stream(server)
    assert stream.reply.getheader("Content-Type") == "text/event-stream; charset=utf-8"
    assert stream.reply.getheader("Cache-Control") == "no-store" and stream.reply.readline() == b"retry: 3000\n"
    server.wait_for(lambda: followers(server) == 1)
    first = log.append([event()])
    got = stream.next()
    assert (got["id"], got["event"]) == (str(first), "appeared")
    assert json.loads(got["data"]) == event() | {"id": first}
    stream.close()
    log.append([event("left"), event("unknown", None)])
    for again in (Stream(server, Last_Event_ID=first), Stream(server, f"?after={first}")):
        assert [again.next()["id"], again.next()["id"]] == [str(first + 1), str(first + 2)]
        again.close()
    chosen = Stream(server, "?after=1&kind=unknown", Last_Event_ID=first)
    assert chosen.next()["id"] == str(first + 2)
    chosen.close()


def test_a_reader_that_is_gone_is_noticed(served):
    server, log = served
    server.wait_for(lambda: followers(server) == 0, 40)
    readers = [Stream(server) for _ in range(5)]
    server.wait_for(lambda: followers(server) == 5)
    for reader in readers:
        reader.close()
    server.wait_for(lambda: followers(server) == 0, 40)


def test_a_reader_that_never_reads_holds_up_nobody(served):
    server, log = served
    begin = log.last
    lazy = Stream(server, f"?after={begin}")
    reader = Stream(server, f"?after={begin}")
    filling = "x" * 4000
    for _ in range(25):
        log.append([event(reason=filling) for _ in range(100)])
    for number in range(begin + 1, begin + 2501):
        assert reader.next()["id"] == str(number)
    assert server.get("/health").status_code == 200
    server.wait_for(lambda: followers(server) == 1, 60)  # what cannot be sent for ten seconds is given up
    reader.close()
    lazy.close()


def test_a_server_stops_at_once_though_somebody_reads(tmp_path):
    with Server(tmp_path) as server:
        stream = Stream(server)
        server.wait_for(lambda: followers(server) == 1)
        assert server.stop() == 0 and "still running" not in server.log()
        stream.close()


def test_events_can_be_switched_off(tmp_path):
    with Server(tmp_path, events="off") as server:
        for path in ("/events", "/events?format=json", "/events/1", "/events/1/thumbnail.jpg"):
            reply = server.get(path)
            assert reply.status_code == 404 and code(reply) == "events_off"
        assert server.get("/health").json()["events"] is None


def test_a_person_who_is_erased_is_in_no_event(tmp_path, faces):
    log = EventLog(tmp_path / "state" / "events")
    number = log.append([event("unknown"), event()], [None, PICTURE])
    log.close()
    with Server(tmp_path) as server:
        server.put("Zoë/one.jpg", faces["obama"])
        server.wait_for(lambda: "Zoë" in server.people())
        assert server.get(f"/events/{number}").json()["subject"] == "Zoë"
        assert server.request("DELETE", "/people/Zoë").status_code == 200
        shown = server.get(f"/events/{number}").json()
        assert shown["subject"] is None and shown["thumbnail"] is None
        assert server.get(f"/events/{number}/thumbnail.jpg").status_code == 404


def test_webhooks_of_a_server_lose_nothing_through_restarts(tmp_path):
    receiver = Receiver()
    secret = tmp_path / "secret"
    secret.write_text("hidden\n")
    server = Server(
        tmp_path / "home",
        webhooks=receiver.url,
        webhook_secret_file=secret,
        webhook_allow="127.0.0.1",
    )
    try:
        with server:
            sink = server.get("/health").json()["events"]["sinks"][0]
            assert sink["name"] == f"http://127.0.0.1:{receiver.port}" and "token" not in json.dumps(sink)
            server.stop()
            log = EventLog(server.state / "events")
            log.append([event() for _ in range(3)])
            log.close()
            server.start()
            # whoever was left open by the kill gets a `left` as well
            server.wait_for(lambda: len(receiver.taken) == 6, 20)
            assert receiver.ids == [1, 2, 3, 4, 5, 6]
            assert all(headers["webhook-signature"].startswith("v1,") for headers, _ in receiver.taken)
        assert "hidden" not in server.log()
    finally:
        receiver.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"webhooks": "ftp://hidden@x/"}, "webhooks: URL 1 cannot be used"),
        ({"webhooks": "https://x/", "webhook_secret": "whsec_hidden!"}, "expected base64 after whsec_"),
        ({"webhooks": "https://x/", "webhook_secret_file": "/nowhere"}, "webhook_secret_file: the file is missing"),
        ({"mqtt_url": "http://u:hidden@x"}, "mqtt_url: expected mqtt://"),
    ],
)
def test_a_server_that_cannot_tell_of_events_says_so_and_ends(tmp_path, settings, said):
    with pytest.raises(AssertionError, match="the server did not start"):
        Server(tmp_path, **settings).start()
    log = (tmp_path / "server.log").read_text()
    assert "Recognizer cannot start" in log and said in log and "hidden" not in log and "Traceback" not in log


# -- a camera of which all of it comes ------------------------------------------------------------------------------------


def test_what_happens_before_a_camera_is_told_everywhere(tmp_path, faces):
    receiver, notified = Receiver(), Receiver()
    broker = Broker(tmp_path / "broker").start() if MOSQUITTO else None
    listener = Listener(broker) if broker else None
    url = f"mqtt://{broker.user}:{quote(broker.password, safe='')}@127.0.0.1:{broker.port}" if broker else ""
    with (
        Stage() as camera,
        Server(
            tmp_path / "home",
            webhooks=receiver.url,
            webhook_allow="127.0.0.1",
            camera_allow="127.0.0.1",
            event_left_seconds=2,
            event_unknown_seconds=1.5,
            mqtt_url=url,
        ) as server,
    ):
        server.put("Barack Obama/one.jpg", faces["obama"])
        server.wait_for(lambda: "Barack Obama" in server.people())
        stream = Stream(server)
        login = camera.url(login="user:hidden@")
        made = server.post("/cameras", data={"source": login, "name": "Front door", "always": "1"}).json()
        known = {"people": ["Barack Obama"], "cameras": [made["id"]], "sure": "sure", "picture": True}
        known |= {"action": "notify", "url": f"json://127.0.0.1:{notified.port}/hidden"}
        unknown = {"who": "unknown", "kind": "leaves", "action": "webhook", "url": notified.url}
        rules = [server.post("/rules", json=each).json()["id"] for each in (known, unknown)]
        assert stream.next()["event"] == "camera_live"
        camera.hold(faces["obama2"])
        appeared = json.loads(stream.next()["data"])
        assert (appeared["kind"], appeared["subject"], appeared["camera"]) == ("appeared", "Barack Obama", made["id"])
        assert appeared["distance"] < 1.4 and appeared["false_match_rate"] < 1e-3
        picture = images.decode(server.get(appeared["thumbnail"]).content, max_bytes=10**6, max_pixels=10**6)
        assert server.names(images.encode_jpeg(images.resize(picture.pixels, 160))) == ["Barack Obama"]
        camera.hold(None)
        left = json.loads(stream.next()["data"])
        assert (left["kind"], left["subject"], left["appearance"]) == ("left", "Barack Obama", appeared["id"])
        camera.hold(faces["collins"])
        unknown = json.loads(stream.next()["data"])
        assert (unknown["kind"], unknown["subject"]) == ("unknown", None)
        camera.hold(None)
        assert stream.next()["event"] == "left"
        stream.close()
        ids = [appeared["id"] - 1, appeared["id"], left["id"], unknown["id"], unknown["id"] + 1]
        server.wait_for(lambda: receiver.ids == ids)
        # and by rules: a notification with the picture, and a webhook when somebody unknown left
        server.wait_for(lambda: len(notified.taken) == 2, 60)
        message, called = (json.loads(body) for _, body in notified.taken)
        assert message["message"].startswith("Barack Obama is at Front door (")
        assert message["attachments"][0]["base64"] and called["rule"] == rules[1] and called["event"]["kind"] == "left"
        server.wait_for(lambda: [each["counts"]["delivered"] for each in server.get("/rules").json()["rules"]] == [1, 1])
        counts = server.get("/health").json()["events"]
        assert counts["dropped_events"] == counts["dropped_states"] == 0 and counts["observed"] > 20
        if listener:
            topic = f"recognizer/cameras/{made['id']}/event"
            server.wait_for(lambda: [json.loads(each)["id"] for each in listener.of(topic)] == ids)
            config = json.loads(listener.held()[f"homeassistant/device/recognizer_{made['id']}/config"])
            assert config["device"]["name"] == "Front door"
            shown = b"".join(payload for _, payload, _ in listener.messages)
            assert b"hidden" not in shown and broker.password.encode() not in shown
            listener.close()
        assert "hidden" not in server.log() + server.get("/events?format=json").text
    receiver.close()
    notified.close()
    if broker:
        broker.kill()
