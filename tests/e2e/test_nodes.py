"""Two servers, each a process of its own, on one database: what one changes the other knows, whatever is killed meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from recognizer.database import schema
from recognizer.database.connection import Database
from recognizer.enrolment.encodings import photo_id

from .. import clusters, template
from ..brokers import MISSING, MOSQUITTO, Broker, Listener, free_port
from ..push_services import Browser
from ..receivers import Receiver
from .serving import Server, altered, code, environment
from .web import Web

CHANGE = "Recognizer-Change"
#: A server that stores its snapshot soon after each change.
SAVING = "from recognizer.service import snapshots\nsnapshots.SAVE_SECONDS = 0.1"
KEY = "an-admin-key-of-twenty-and-more"
#: What a killed node had of a job is free soon.
QUICK = "from recognizer.jobs import job_store\njob_store.LEASE = 2.0"


class Nodes:
    """A database of its own, a folder of photos, and two servers that share both."""

    def __init__(self, folder: Path):
        self.folder, self.cluster_folder = folder, Path(tempfile.mkdtemp(prefix="recognizer-nodes-"))
        self.cluster = clusters.Cluster(self.cluster_folder).make().start()
        self.url = self.cluster.make_database()
        with closing(Database(self.url)) as database:
            schema.migrate(database)
        self.photos = folder / "photos"
        self.photos.mkdir()
        self.a, self.b = (self.node(name, node_cameras="off") for name in ("a", "b"))  # else they may take those of others

    def node(self, name: str, **settings) -> Server:
        settings = {"database_url": self.url, "photos": self.photos, "camera": "none", "admin_key": KEY, **settings}
        settings.setdefault("dropped_seconds", 0.5)
        server = Server(self.folder / name, altered(f"{SAVING}\n{QUICK}"), **settings)
        server.always = {"headers": {"Authorization": f"Bearer {KEY}"}}
        return server

    def close(self) -> None:
        for server in (self.a, self.b):
            if server.process is not None:
                server.stop()
        self.cluster.stop()
        shutil.rmtree(self.cluster_folder, ignore_errors=True)

    def texts(self) -> str:
        """Everything in the database, as text."""
        import psycopg

        with psycopg.connect(self.url) as connection:
            tables = connection.execute(
                "select table_name from information_schema.tables where table_schema = 'public'"
            ).fetchall()
            return "".join(str(connection.execute(f"select t::text from {name} t").fetchall()) for (name,) in tables)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory) -> Iterator[Nodes]:
    if not clusters.available():
        pytest.skip(clusters.MISSING)
    made = Nodes(tmp_path_factory.mktemp("nodes"))
    try:
        made.a.start()
        made.b.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def pair(nodes) -> tuple[Server, Server]:
    """Both servers, with nobody enrolled."""
    for server in (nodes.a, nodes.b):
        if server.process is None:
            server.start()
    for name in nodes.a.people():
        assert nodes.a.request("DELETE", f"/people/{name}").status_code == 200
    return nodes.a, nodes.b


def seeing(server: Server, change: str, photo: bytes) -> list[str | None]:
    """Who is on a photo for a server that has a change."""
    headers = {**server.always["headers"], CHANGE: change}
    reply = server.post("/recognize", data=photo, headers=headers)
    assert reply.status_code == 200, reply.text
    return [face["subject"] for face in reply.json()["faces"]]


def test_who_is_enrolled_on_one_node_is_named_by_the_other_at_once(pair, faces):
    a, b = pair
    reply = a.enroll("Barack Obama", faces["obama"])
    assert reply.status_code == 201
    assert seeing(b, reply.headers[CHANGE], faces["obama2"]) == ["Barack Obama"]
    assert b.enroll("Joe Biden", faces["biden"]).status_code == 201
    a.wait_for(lambda: a.names(faces["biden"]) == ["Joe Biden"])  # without the header
    assert "Joe Biden" in a.people()
    assert CHANGE not in a.get("/people").headers
    shown = b.get("/people/Barack%20Obama").json()
    assert b.get(f"/people/Barack%20Obama/photos/{shown['photos'][0]['id']}").content == faces["obama"]
    assert shown["photos"][0]["original"]["name"] == "0.jpg" and "was not stored" not in a.log() + b.log()


def test_a_photo_that_is_dropped_is_enrolled_by_one_of_the_nodes(nodes, pair, faces):
    a, b = pair
    folder = nodes.photos / "people" / "Eileen Collins"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(faces["collins"])
    (folder / "2.jpg").write_bytes(faces["nobody"])
    for server in (a, b):
        server.wait_for(lambda server=server: server.names(faces["collins"]) == ["Eileen Collins"])
        server.wait_for(lambda server=server: len(server.get("/people").json()["problems"]) == 1)
    assert [(each["subject"], each["code"]) for each in b.get("/people").json()["problems"]] == [("Eileen Collins", "no_face")]
    assert [file.name for file in folder.iterdir()] == ["2.jpg"]
    gone = b.request("DELETE", "/people/Eileen%20Collins").json()
    assert not any(gone["left"].values()) and not [path for path in nodes.photos.rglob("*") if path.is_file()]


def test_a_number_that_no_node_has_yet_is_refused_after_a_second(pair, faces):
    _, b = pair
    reply = b.post("/recognize", data=faces["obama"], headers={**b.always["headers"], CHANGE: "9" * 12})
    assert (reply.status_code, code(reply)) == (503, "not_caught_up") and reply.headers["Retry-After"] == "1"
    reply = b.post("/recognize", data=faces["obama"], headers={**b.always["headers"], CHANGE: "-1"})
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter")


def test_erased_on_one_gone_on_all(nodes, pair, faces):
    a, b = pair
    done = a.enroll("Barack Obama", faces["obama"])
    assert seeing(b, done.headers[CHANGE], faces["obama2"]) == ["Barack Obama"]
    assert any(photo_id(faces["obama"]) == path.name for path in nodes.photos.rglob("*"))
    gone = b.request("DELETE", "/people/Barack%20Obama")
    assert gone.status_code == 200 and not any(gone.json()["left"].values())
    assert seeing(a, gone.headers[CHANGE], faces["obama2"]) == [None]
    for server in (a, b):
        assert server.get("/people/Barack%20Obama").status_code == 404
    assert not [path for path in nodes.photos.rglob("*") if path.is_file()]
    for server in (a, b):
        server.wait_for(lambda server=server: b"Obama" not in files(server.state / "snapshot"))
    a.wait_for(lambda: "Obama" not in nodes.texts())  # the other node has done its part when its work is gone


def test_renamed_on_one_renamed_on_all(pair, faces):
    a, b = pair
    a.enroll("Barack Obama", faces["obama"])
    renamed = b.request("PATCH", "/people/Barack%20Obama", json={"name": "The President"})
    assert renamed.status_code == 200, renamed.text
    assert seeing(a, renamed.headers[CHANGE], faces["obama2"]) == ["The President"]


def test_a_group_of_one_node_is_one_of_the_other(nodes, pair, faces):
    a, b = pair
    made = a.post("/groups", data={"name": "Night shift"})
    assert made.status_code == 201
    known = {"headers": {**b.always["headers"], CHANGE: made.headers[CHANGE]}}
    form = {"files": {"file": faces["biden"]}, "data": {"subject": "Joe", "group": "Night shift"}}
    done = b.request("POST", "/enroll", **form, **known)
    assert done.status_code == 201, done.text
    known["headers"][CHANGE] = done.headers[CHANGE]
    asked = {"files": {"file": faces["trio"]}, "data": {"group": "Night shift"}}
    found = a.request("POST", "/recognize", **asked, **known).json()["faces"]
    assert sorted(each["subject"] or "" for each in found) == ["", "", "Joe"] and "Joe" not in a.people()
    lines = a.get("/audit").json()["lines"]
    assert [line["name"] for line in lines if line["action"] == "enroll"][-1] == "Night shift/Joe"
    gone = b.request("DELETE", "/groups/Night%20shift")
    assert gone.json() == {"deleted": "Night shift", "people": 1, "photos": 1}
    known["headers"][CHANGE] = gone.headers[CHANGE]
    assert code(a.request("POST", "/recognize", **asked, **known)) == "group_not_found"
    assert not [path for path in nodes.photos.rglob("*") if path.is_file()]
    a.wait_for(lambda: "Joe" not in nodes.texts())


def test_two_nodes_that_change_the_same_person_at_once_end_alike(pair, faces):
    a, b = pair
    replies: list[int] = []

    def change(server: Server, photo: bytes) -> None:
        for _ in range(4):
            replies.append(server.enroll("Barack Obama", photo, force="true").status_code)
            replies.append(server.request("PATCH", "/people/Barack%20Obama", json={"name": "Barack"}).status_code)
            replies.append(server.request("DELETE", "/people/Barack").status_code)

    threads = [threading.Thread(target=change, args=each) for each in ((a, faces["obama"]), (b, faces["obama2"]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not {status for status in replies if status >= 500}, replies
    last = a.enroll("Joe Biden", faces["biden"]).headers[CHANGE]
    seen = [seeing(server, last, faces[photo]) for server in (a, b) for photo in ("obama3", "biden")]
    assert seen[:2] == seen[2:] and seen[1] == ["Joe Biden"]
    assert a.people() == b.people()
    counts = [server.get("/health").json()["counts"] for server in (a, b)]
    assert counts[0] == counts[1]


def test_an_acknowledged_enrolment_outlives_its_node(nodes, pair, faces):
    a, b = pair
    done = a.enroll("Barack Obama", faces["obama"])
    assert done.status_code == 201
    a.process.kill()
    a.process.wait()
    a.process = None
    assert seeing(b, done.headers[CHANGE], faces["obama2"]) == ["Barack Obama"]
    a.start()
    assert a.names(faces["obama2"]) == ["Barack Obama"]


def files(folder: Path) -> bytes:
    """Everything in a folder's files."""
    return b"".join(path.read_bytes() for path in folder.glob("*") if path.is_file())


def saved(server: Server) -> int:
    """The last change in a server's snapshot."""
    file = server.state / "snapshot" / "list.json"
    return json.loads(file.read_text())["seq"] if file.exists() else -1


def test_another_node_works_off_what_a_killed_one_left(nodes, pair, faces):
    """The first node takes photos, and is killed while it waits for them; the second one does the rest."""
    a, b = pair
    hold, asked = threading.Event(), threading.Event()

    def slow(handler) -> None:
        asked.set()
        hold.wait(60)
        handler.reply(faces["obama"])

    with Web() as web:
        assert b.stop() == 0
        urls = [{"url": web.url(f"/{n}.jpg", slow), "subject": "Barack Obama"} for n in range(6)]
        job = a.post("/jobs", json={"operation": "enroll", "image_urls": urls}).json()["id"]
        assert asked.wait(60)
        a.process.kill()
        a.process.wait()
        a.process = None
        hold.set()
        b.start()
        done = b.wait_for(lambda: (found := b.get(f"/jobs/{job}").json())["ended"] and found)
        assert (done["done"], done["failed"]) == (6, 0) and b.people()["Barack Obama"]["photos"] == 1
    a.start()
    assert a.get(f"/jobs/{job}").json() == done and len(a.get(f"/jobs/{job}/result").json()["photos"]) == 6
    assert a.request("DELETE", "/people/Barack%20Obama").json()["left"]["jobs"] == 0
    assert "Obama" not in str(b.get(f"/jobs/{job}/result").json())


def test_searches_go_on_while_the_database_is_away_and_changes_are_refused(nodes, pair, faces):
    a, b = pair
    done = a.enroll("Barack Obama", faces["obama"])
    assert done.status_code == 201 and seeing(b, done.headers[CHANGE], faces["obama"]) == ["Barack Obama"]
    key = json.loads(a.cli("keys", "add", "gate", "--json").stdout)["key"]
    with_key = {"headers": {"Authorization": f"Bearer {key}"}}
    b.wait_for(lambda: requests.get(f"{b.url}/people", timeout=30, **with_key).status_code == 200)
    b.wait_for(lambda: saved(b) >= int(done.headers[CHANGE]))
    nodes.cluster.kill()
    try:
        for server in (a, b):
            assert server.names(faces["obama2"]) == ["Barack Obama"]
            refused = server.enroll("Joe Biden", faces["biden"])
            assert (refused.status_code, code(refused)) == (503, "database_away") and "Retry-After" in refused.headers
            assert server.request("DELETE", "/people/Barack%20Obama").status_code == 503
            assert server.names(faces["obama2"]) == ["Barack Obama"]
            assert server.get("/health/ready").status_code == 200
            assert server.get("/health").json()["database"]["reachable"] is False
        new = nodes.node("new")
        ended = template.run(new.command, env=environment(**new.settings))
        assert ended.returncode == 1 and "cannot start: the database cannot be reached" in ended.stderr + ended.stdout
        b.process.kill()
        b.process.wait()
        b.start()  # from its snapshot
        assert b.names(faces["obama2"]) == ["Barack Obama"]
        assert requests.post(f"{b.url}/recognize", data=faces["obama2"], timeout=30).status_code == 401
        asked = requests.post(f"{b.url}/recognize", data=faces["obama2"], timeout=30, **with_key)
        assert [face["subject"] for face in asked.json()["faces"]] == ["Barack Obama"]
        refused = b.enroll("Joe Biden", faces["biden"])
        assert (refused.status_code, code(refused)) == (503, "database_away")
        assert b.get("/health/ready").status_code == 200 and not b.get("/health").json()["database"]["reachable"]
    finally:
        nodes.cluster.start()

    def enrolled() -> requests.Response | None:
        reply = a.enroll("Joe Biden", faces["biden"])
        return reply if reply.status_code == 201 else None

    reply = a.wait_for(enrolled)
    assert seeing(a, reply.headers[CHANGE], faces["biden"]) == ["Joe Biden"]
    b.wait_for(lambda: b.names(faces["biden"]) == ["Joe Biden"])
    assert b.names(faces["obama2"]) == ["Barack Obama"]  # acknowledged before the database was killed
    assert b.enroll("Barack Obama", faces["obama3"]).status_code == 201


def test_people_of_a_folder_and_back(nodes, pair, faces, tmp_path):
    a, b = pair
    a.put("Barack Obama/one.jpg", faces["obama"])
    a.put("Barack Obama/.consent.json", b'{"consent": "said yes", "expires": "2999-01-01"}')
    a.put("Joe Biden/two.jpg", faces["biden"])
    a.put("Nobody/three.jpg", faces["nobody"])
    a.put(".groups/staff/Joe/four.jpg", faces["biden"])
    ids = {".group.json": "8b7a4a4e-0000-4000-8000-000000000001", "Joe/.person.json": "8b7a4a4e-0000-4000-8000-000000000002"}
    for file, id_ in ids.items():
        a.put(f".groups/staff/{file}", json.dumps({"id": id_, "made": "2026-11-30T00:00:00Z", "data": {}}).encode())
    for photos in (3, 0):  # what is there already is left out
        loaded = a.cli("database", "load", "--json")
        assert loaded.exit_code == 0, loaded.stderr
        assert json.loads(loaded.stdout)["photos"] == photos
    b.wait_for(lambda: b.names(faces["obama2"]) == ["Barack Obama"])
    assert b.people()["Barack Obama"]["consent"] == "said yes"
    shown = json.loads(a.cli("database", "status", "--json").stdout)
    assert (shown["people"], shown["photos"], shown["templates"]) == (3, 3, 3) and len(shown["nodes"]) >= 2
    assert shown["groups"] == 2
    dumped = b.cli("database", "dump", tmp_path / "dump")
    assert dumped.exit_code == 0, dumped.stderr
    files = {path.relative_to(tmp_path / "dump") for path in (tmp_path / "dump").rglob("*.jpg")}
    assert {str(path.parent) for path in files} == {"Barack Obama", "Joe Biden", ".groups/staff/Joe"}
    stored = sorted(path.read_bytes() for path in (tmp_path / "dump").rglob("*.jpg"))
    assert stored == sorted([faces["obama"], faces["biden"], faces["biden"]])
    assert {file: json.loads((tmp_path / "dump/.groups/staff" / file).read_text())["id"] for file in ids} == ids
    assert a.request("DELETE", "/groups/staff").status_code == 200
    assert "said yes" in (tmp_path / "dump" / "Barack Obama" / ".consent.json").read_text()
    assert b.cli("database", "dump", tmp_path / "dump").exit_code == 1  # not into a folder with files
    shutil.rmtree(a.known_faces)
    a.known_faces.mkdir()


def restored_alone(node, tmp_path) -> Server:
    """A single server to which a node's backup was restored."""
    backup = node.get("/backup")
    assert backup.status_code == 200, backup.text
    (tmp_path / "backup.zip").write_bytes(backup.content)
    alone = Server(tmp_path / "alone")
    restored = alone.cli("restore", tmp_path / "backup.zip")
    assert restored.exit_code == 0, restored.stderr
    return alone


def test_what_is_set_on_one_node_holds_on_the_other_and_is_in_a_backup(nodes, pair, faces, tmp_path):
    a, b = pair
    assert a.enroll("Joe Biden", faces["biden"]).status_code == 201
    rule = {"who": "people", "people": ["Joe Biden"], "action": "webhook", "url": "https://example.org/hook"}
    assert a.post("/rules", json=rule).status_code == 201
    assert [each["people"] for each in b.get("/rules").json()["rules"]] == [["Joe Biden"]]
    changed = b.request("PATCH", "/people/Joe%20Biden", json={"name": "Joe", "tags": "office"})
    assert changed.status_code == 200, changed.text
    assert [each["people"] for each in a.get("/rules").json()["rules"]] == [["Joe"]] and a.people()["Joe"]["tags"] == ["office"]
    assert b.post("/cameras", json={"source": "test:320x240", "name": "Yard"}).status_code == 201
    mask = {"masks": [{"points": [[0, 0], [0.5, 0], [0.5, 1]]}]}
    assert a.request("PUT", "/cameras/yard/settings", json=mask).status_code == 200
    assert b.get("/cameras/yard/settings").json()["masks"] == mask["masks"]
    binned = b.request("DELETE", "/people/Joe", params={"bin": "true"}).json()["bin"]
    a.wait_for(lambda: a.names(faces["biden"]) == [None])
    assert a.post(f"/bin/{binned}/restore").status_code == 200
    b.wait_for(lambda: b.names(faces["biden"]) == ["Joe"])
    alone = restored_alone(b, tmp_path)
    listed = json.loads(alone.cli("people", "list", "--json").stdout)["people"]
    assert [(each["name"], each["tags"]) for each in listed] == [("Joe", ["office"])]
    assert b.request("DELETE", "/people/Joe").json()["left"]["rules"] == 0 and a.get("/rules").json()["rules"] == []
    assert a.request("DELETE", "/cameras/yard").status_code == 200 and "Joe" not in nodes.texts()


def test_a_node_with_another_engine_is_refused(nodes, pair):
    other = nodes.node("other", embedder="sface")
    ended = template.run(other.command, env=environment(**other.settings))
    assert ended.returncode == 1
    assert "all nodes must have the same RECOGNIZER_DETECTOR" in ended.stderr + ended.stdout


def test_keys_and_settings_are_those_of_all_nodes(nodes, pair, faces):
    a, b = pair
    made = a.cli("keys", "add", "door", "--json")
    assert made.exit_code == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    b.wait_for(lambda: requests.get(f"{b.url}/people", headers={"Authorization": f"Bearer {key}"}).status_code == 200)
    assert requests.get(f"{b.url}/people").status_code == 401
    changed = a.request("PATCH", "/settings", json={"stranger_rate": 0.05})
    assert changed.status_code == 200, changed.text
    b.wait_for(lambda: b.get("/health").json()["stranger_rate"] == 0.05)
    lines = b.get("/audit").json()["lines"]
    assert {"key_add", "setting_change"} <= {line["action"] for line in lines}
    verified = a.cli("audit", "verify")
    assert verified.exit_code == 0, verified.stderr
    assert a.stop(signal.SIGTERM) == 0


def test_who_gets_events_is_set_once_for_all_nodes_and_is_in_a_backup(nodes, pair, tmp_path):
    a, b = pair
    hook = "https://example.org/hook?token=hidden"
    assert a.get("/receivers").json()["fixed"] == {}
    set_here = a.request("PATCH", "/receivers", json={"webhooks": [hook], "mqtt_prefix": "house"})
    assert set_here.status_code == 200, set_here.text
    there = b.get("/receivers").json()
    assert [each["url"] for each in there["webhooks"]] == ["https://example.org"] and there["mqtt_prefix"] == "house"
    prefix = next(each for each in b.get("/settings").json()["settings"] if each["name"] == "mqtt_prefix")
    assert (prefix["value"], prefix["changed_at"]) == ("house", "/receivers")
    key = a.get("/push").json()["public_key"]
    assert b.get("/push").json() == {"public_key": key, "subscriptions": []}
    browser = Browser("https://push.example")
    given = {"endpoint": browser.endpoint, "p256dh": browser.p256dh, "auth": browser.auth, "label": "Phone"}
    made = a.post("/push/subscriptions", json=given)
    assert made.status_code == 201, made.text
    assert [each["id"] for each in b.get("/push").json()["subscriptions"]] == [made.json()["id"]]
    alone = restored_alone(b, tmp_path)
    assert json.loads((alone.state / "receivers.json").read_text())["settings"]["webhooks"] == [hook]
    assert browser.endpoint in (alone.state / "push.json").read_text()
    assert b.request("DELETE", f"/push/subscriptions/{made.json()['id']}").status_code == 200
    assert a.get("/push").json()["subscriptions"] == []
    assert b.request("PATCH", "/receivers", json={"webhooks": [], "mqtt_prefix": "recognizer"}).status_code == 200
    assert a.get("/receivers").json()["webhooks"] == []


def test_a_notification_of_the_bucket_is_for_nodes_with_a_bucket_and_needs_a_key(nodes, pair, tmp_path):
    a, _ = pair
    named = {
        "Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "f"}, "object": {"key": "people/A/1.jpg"}}}]
    }
    taken = a.post("/dropped", json=named)
    assert (taken.status_code, taken.json()) == (202, {"named": 0})  # these nodes store photos in a folder
    for wrong in ({}, {"Records": "x"}, {"notification": named}):
        refused = a.post("/dropped", json=wrong)
        assert (refused.status_code, code(refused)) == (400, "invalid_parameter"), refused.text
    assert (
        a.post("/dropped", data=b"[1]", headers={**a.always["headers"], "Content-Type": "application/json"}).status_code == 400
    )
    assert a.post("/dropped", params={"x": "1"}, json=named).status_code == 400
    assert requests.post(f"{a.url}/dropped", json=named, timeout=30).status_code == 401
    key = json.loads(a.cli("keys", "add", "bucket", "--role", "read", "--json").stdout)
    headers = {"Authorization": f"Bearer {key['key']}"}
    assert requests.post(f"{a.url}/dropped", json=named, headers=headers, timeout=30).status_code == 202


def test_a_photo_in_the_bucket_is_enrolled_when_the_bucket_says_so(nodes, faces, monkeypatch):
    server = pytest.importorskip("moto.server", reason="needs moto (requirements-dev.txt)")
    boto3 = pytest.importorskip("boto3", reason="needs boto3, which moto brings")
    pytest.importorskip("s3fs", reason="needs s3fs (requirements-postgres.txt)")
    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    where = "http://{}:{}".format(*store.get_host_and_port())
    requests.post(f"{where}/moto-api/reset", timeout=30)  # what it has is the process's, not the server's
    for name, value in {
        "ACCESS_KEY_ID": "x",
        "SECRET_ACCESS_KEY": "x",
        "ENDPOINT_URL": where,
        "DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket="faces")
    queue = sqs.create_queue(QueueName="dropped")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="faces", NotificationConfiguration=configuration)
    url = nodes.cluster.make_database()
    with closing(Database(url)) as database:
        schema.migrate(database)
    settings = {"database_url": url, "photos": "s3://faces/photos", "dropped_seconds": 3600, "node_cameras": "off"}
    node = nodes.node("bucket", **settings, dropped_queue=queue)
    try:
        node.start()
        node.wait_for(lambda: node.get("/health/ready").status_code == 200)
        s3.put_object(Bucket="faces", Key="photos/people/Joe Biden/1.jpg", Body=faces["biden"])
        node.wait_for(lambda: node.names(faces["biden"]) == ["Joe Biden"])
        node.stop()
        node.start(dropped_queue="")
        s3.put_object(Bucket="faces", Key="photos/people/Barack Obama/1.jpg", Body=faces["obama"])
        event = {"name": "faces"}, {"key": "photos%2Fpeople%2FBarack+Obama%2F1.jpg"}
        record = {"eventName": "s3:ObjectCreated:Put", "s3": dict(zip(("bucket", "object"), event, strict=True))}
        assert node.post("/dropped", json={"EventName": "s3:ObjectCreated:Put", "Records": [record]}).json() == {"named": 1}
        node.wait_for(lambda: node.names(faces["obama2"]) == ["Barack Obama"])
        assert "what is known about a photo was not stored" not in node.log()
    finally:
        if node.process is not None:
            node.stop()
        store.stop()


# --- cameras ---------------------------------------------------------------------------------------------------------

LEASES = "from recognizer.database import leases\nleases.LEASE_SECONDS = 6.0\nleases.RENEWAL_SECONDS = 0.1"


@pytest.fixture
def watching(nodes, pair) -> Iterator[tuple[Server, Server]]:
    """Two nodes that say where they are; the first one has the camera `hall`, which always runs."""
    made = []
    for name in ("watching-a", "watching-b"):
        port = free_port()
        server = nodes.node(name, node_url=f"http://127.0.0.1:{port}", webhook_allow="127.0.0.1")
        server.command = (*altered(f"{SAVING}\n{LEASES}")[:-1], str(port))
        made.append(server.start())
    one, two = made
    try:
        listed = one.get("/cameras")
        assert listed.status_code == 200, (listed.text, one.log())
        for each in listed.json()["cameras"]:
            assert one.request("DELETE", f"/cameras/{each['id']}").status_code == 200
        assert two.post("/cameras", json={"source": "test:320x240@10", "name": "Hall", "always": True}).status_code == 201
        one.wait_for(lambda: one.get("/cameras/hall").json().get("node"))
        yield (one, two) if reads(one, one) else (two, one)
    finally:
        for server in made:
            if server.process is not None:
                server.stop()


def own_id(server: Server) -> str:
    return server.get("/health").json()["database"]["node"]


def reads(server: Server, asked: Server) -> bool:
    """Whether a server reads the camera, for the one that is asked."""
    return asked.get("/cameras/hall").json().get("node") == own_id(server)


def first_picture(server: Server, path: str, **how) -> bytes:
    with requests.get(server.url + path, stream=True, timeout=30, **{**server.always, **how}) as reply:
        assert reply.status_code == 200, reply.text
        assert reply.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        data = b""
        for part in reply.iter_content(65536):
            data += part
            if b"\xff\xd9" in data:
                return data
    raise AssertionError("the stream ended")


def test_any_node_shows_a_camera_and_another_one_takes_it_when_its_node_is_killed(watching):
    holder, other = watching
    for server in (holder, other):
        server.wait_for(lambda server=server: server.get("/cameras/hall").json()["state"]["name"] == "live")
        server.wait_for(lambda server=server: reads(holder, server))
        assert server.get("/health").json()["video"]["running"] == (["hall"] if server is holder else [])
        assert b"\xff\xd8" in first_picture(server, "/cameras/hall/stream?width=160&fps=5")
        taken = server.get("/cameras/hall/snapshot.jpg")
        assert taken.headers["Content-Type"] == "image/jpeg" and "X-Timestamp" in taken.headers
    refused = requests.get(f"{other.url}/cameras/hall/stream", timeout=30)  # the key is asked for here
    assert refused.status_code == 401
    wrong = other.get("/cameras/hall/snapshot.jpg?width=1")
    assert (wrong.status_code, code(wrong)) == (400, "invalid_parameter")
    with requests.get(f"{other.url}/cameras/hall/stream", stream=True, timeout=30, **other.always) as watched:
        parts = watched.iter_content(65536)
        next(parts)
        holder.process.kill()
        holder.process.wait()
        holder.process = None
        for _ in parts:  # ends with the node
            pass
    other.wait_for(lambda: reads(other, other))
    other.wait_for(lambda: other.get("/health").json()["video"]["running"] == ["hall"])
    assert b"\xff\xd8" in first_picture(other, "/cameras/hall/stream")
    holder.start()
    holder.wait_for(lambda: reads(other, holder))  # it does not move back
    assert b"\xff\xd8" in first_picture(holder, "/cameras/hall/stream")
    assert other.stop() == 0  # gives its cameras away
    holder.wait_for(lambda: reads(holder, holder))
    changed = holder.request("PATCH", "/cameras/hall", json={"always": False})
    assert changed.status_code == 200 and changed.json()["node"] == own_id(holder)


def test_every_node_sends_its_events_to_a_webhook_that_was_set_once_and_none_is_sent_twice(nodes, watching):
    holder, other = watching
    receiver = Receiver()
    try:
        holder.wait_for(lambda: holder.get("/cameras/hall").json()["state"]["name"] == "live")
        assert other.request("PATCH", "/receivers", json={"webhooks": [receiver.url]}).status_code == 200
        holder.wait_for(lambda: holder.get("/receivers").json()["webhooks"][0]["state"])  # it knows it too

        def sent(kind: str, node: str) -> list[str]:
            found = ((headers["webhook-id"], json.loads(body)) for headers, body in list(receiver.taken))
            return [id_ for id_, body in found if (body["kind"], body["node"]) == (kind, node)]

        first, second = own_id(holder), own_id(other)
        holder.process.kill()
        holder.process.wait()
        holder.process = None
        other.wait_for(lambda: sent("camera_live", second))
        assert all(each.startswith(f"recognizer-{second}-") for each in sent("camera_live", second))
        holder.start()
        assert other.stop() == 0
        holder.wait_for(lambda: sent("camera_live", first))  # it takes the camera back, and knows the webhook
        ids = [headers["webhook-id"] for headers, _ in receiver.taken]
        assert len(ids) == len(set(ids)), ids
        holder.wait_for(
            lambda: holder.get("/receivers").json()["webhooks"][0]["state"]["delivered"]
        )  # noted after it was taken
        assert holder.request("PATCH", "/receivers", json={"webhooks": []}).status_code == 200
    finally:
        receiver.close()


@pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)
def test_all_nodes_publish_to_the_broker_that_was_set_once(watching, tmp_path):
    holder, other = watching
    first, second = own_id(holder), own_id(other)
    with Broker(tmp_path / "broker") as broker:
        listener = Listener(broker)
        given = {"mqtt_url": f"mqtt://{broker.user}@127.0.0.1:{broker.port}", "mqtt_password": broker.password}
        assert other.request("PATCH", "/receivers", json=given).status_code == 200
        for server, node in ((holder, first), (other, second)):
            server.wait_for(lambda node=node: listener.held().get(f"recognizer/nodes/{node}/status") == b"online")
        config = "homeassistant/device/recognizer_hall/config"

        def home() -> str:
            return json.loads(listener.held()[config])["availability_topic"].split("/")[2]

        holder.wait_for(lambda: config in listener.held())
        assert home() == first
        holder.process.kill()
        holder.process.wait()
        holder.process = None
        other.wait_for(lambda: listener.held()[f"recognizer/nodes/{first}/status"] == b"offline")  # the broker says so
        other.wait_for(lambda: home() == second)
        live = lambda: [json.loads(each) for each in listener.of("recognizer/cameras/hall/event")]  # noqa: E731
        other.wait_for(lambda: second in [each["node"] for each in live() if each["kind"] == "camera_live"])
        holder.start()
        holder.wait_for(lambda: listener.held()[f"recognizer/nodes/{first}/status"] == b"online")
        assert home() == second and listener.held()[f"recognizer/nodes/{second}/status"] == b"online"  # nobody is thrown out
        assert holder.request("PATCH", "/receivers", json={"mqtt_url": "none"}).status_code == 200
        holder.wait_for(lambda: not [topic for topic in listener.held() if topic.startswith("homeassistant/")])
        listener.close()
