"""Cameras that nodes share: one list in the database, and one node that reads each."""

from __future__ import annotations

import pytest

from recognizer.core.errors import CameraFixed, CameraNotFound, DatabaseAway, NameTaken, TooManyCameras
from recognizer.core.vault import Vault, new_key
from recognizer.database import leases, nodes
from recognizer.database.leases import Leases
from recognizer.video.sources import cameras as cameras_module
from recognizer.video.sources.cameras import DEFAULT
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.shared_cameras import SharedCameras

from .streams import wait_for

pytestmark = pytest.mark.network


@pytest.fixture
def database(database):
    for name in ("a", "b", "c"):
        nodes.report(database, name, 0, f"http://{name}.example:8000", name != "c")
    return database


@pytest.fixture
def make(database, monkeypatch):
    monkeypatch.setattr("recognizer.video.sources.shared_cameras._FRESH_SECONDS", 0.0)
    made = []

    def make(node: str = "a", **options) -> SharedCameras:
        made.append(SharedCameras(database, node, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ended(database, camera: str) -> None:
    """As if the node that reads a camera had not renewed its lease in time."""
    with database.transaction() as connection:
        connection.execute("update camera_lease set until = now() - interval '1 second' where camera = %s", [camera])


# --- the list --------------------------------------------------------------------------------------------------------


def test_what_one_node_changes_the_other_lists(make):
    one, two = make("a"), make("b")
    added = one.add("test:", "Front door", always=True, group="staff")
    assert [(each.id, each.name, each.text, each.always, each.group) for each in two.all()] == [
        ("front-door", "Front door", "test:", True, "staff")
    ]
    two.change(added.id, name="Hall", source="test:320x240")
    assert (one.get("front-door").name, one.get("front-door").text) == ("Hall", "test:320x240")
    assert one.remove("front-door").name == "Hall"
    assert two.all() == [] and two.removed() == one.removed() == {"front-door": "Hall"}
    with pytest.raises(CameraNotFound):
        two.get("front-door")


def test_the_rules_of_the_list_hold_for_all_nodes(make, monkeypatch):
    monkeypatch.setattr(cameras_module, "MOST_CAMERAS", 2)
    monkeypatch.setattr("recognizer.video.sources.shared_cameras.MOST_REMOVED", 1)
    one, two = make("a", default="test:"), make("b")
    one.add("test:", "Hall")
    with pytest.raises(NameTaken):
        two.add("test:", "hall")
    two.add("test:", "Yard")
    with pytest.raises(TooManyCameras):
        one.add("test:", "Gate")
    with pytest.raises(CameraFixed):
        one.remove(DEFAULT)
    two.remove("hall")
    one.remove("yard")
    assert one.removed() == {"yard": "Yard"}


def test_sources_are_encrypted_where_there_is_a_key(make, database):
    vault = Vault([new_key()])
    make("a", vault=vault, reach=Reach(["lan"])).add("rtsp://user:secret@192.168.1.9/main", "Door")
    assert b"secret" not in database.rows("select source from camera")[0][0]
    assert make("b", vault=vault).get("door").source.address == "rtsp://user:secret@192.168.1.9/main"


def test_while_the_database_is_away_the_list_stays_and_cannot_be_changed(make, database, monkeypatch):
    cameras = make()
    cameras.add("test:", "Hall")
    assert cameras._mine.take("hall") and cameras.get("hall").here
    monkeypatch.setattr(database, "followed", True)
    database.note_away()
    assert [each.name for each in cameras.all()] == ["Hall"] and cameras.get("hall").here
    with pytest.raises(DatabaseAway):
        cameras.add("test:", "Yard")
    other = make("b")  # has never read the list
    with pytest.raises(DatabaseAway):
        other.get("hall")
    database.note_there()
    assert [each.name for each in cameras.all()] == ["Hall"] and other.get("hall").name == "Hall"


# --- who reads a camera ----------------------------------------------------------------------------------------------


def test_a_lease_is_of_one_node_until_it_ends(database):
    one, two = Leases(database, "a"), Leases(database, "b")
    assert one.take("hall") and one.take("hall") and not two.take("hall")
    assert (two.all()["hall"].node, two.all()["hall"].url) == ("a", "http://a.example:8000")
    ended(database, "hall")
    assert two.all() == {} and two.take("hall") and not one.take("hall")
    one.release()
    assert one.all()["hall"].node == "b"
    two.release(["hall"])
    assert one.all() == {}


def test_nodes_that_read_cameras_share_them(database):
    one, two, cameras = Leases(database, "a"), Leases(database, "b"), [f"camera-{number}" for number in range(5)]
    for _ in range(2):
        one.keep(cameras, {})
        two.keep(cameras, {})
    held = [each.node for each in one.all().values()]
    assert (held.count("a"), held.count("b")) == (3, 2)
    one.keep(cameras[:1], {})  # what it cannot read any longer, others may take
    assert [each.node for each in one.all().values()].count("a") <= 1


def test_a_camera_that_stays_free_is_taken_by_whoever_can_read_it(database):
    one = Leases(database, "a")  # the other one has its share, and cannot read these
    one.keep(["x", "y", "z"], {})
    assert len(one.all()) == 2
    for _ in range(leases.PATIENT_ROUNDS):
        one.keep(["x", "y", "z"], {})
    assert len(one.all()) == 3


def test_a_camera_moves_when_its_node_is_gone(make, database, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.02)
    news = []
    one, two = make("a"), make("b")
    one.subscribe(lambda what, entry: news.append((entry.id, entry.here)))
    one.add("test:", "Hall")
    assert not one.get("hall").here and one.elsewhere("hall").node is None  # nobody reads it so far
    one.keep()
    wait_for(lambda: one.get("hall").here)
    assert one.elsewhere("hall") is None and one.get("hall").node == "a"
    wait_for(lambda: (two.elsewhere("hall").state or {}).get("state", {}).get("name") == "idle")
    assert (two.elsewhere("hall").url, two.get("hall").here) == ("http://a.example:8000", False)
    one._ended.set()  # from now on it is as if it were killed
    one._keeper.join()
    two.keep()
    ended(database, "hall")
    wait_for(lambda: two.get("hall").here)
    assert not one.get("hall").here and one.elsewhere("hall").node == "b"
    assert news[0] == ("hall", False) and ("hall", True) in news and news[-1] == ("hall", False)
    two.close()
    assert database.rows("select count(*) from camera_lease") == [(0,)]


def test_a_camera_that_is_wanted_is_taken_at_once(make, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 3600.0)
    one = make("a")
    one.keep()
    wait_for(lambda: one._mine._refused == {} and one._keeper.is_alive())
    one.add("test:", "Hall")
    assert one.elsewhere("hall") is None and one.get("hall").here
    assert one.elsewhere("nowhere") is None


def test_a_node_that_reads_no_cameras_knows_who_does(make):
    two, other = make("b", default="test:"), make("c", reads=False)
    two.keep()
    wait_for(lambda: two.get(DEFAULT).here)
    other.keep()
    assert other._keeper is None and other.elsewhere(DEFAULT).node == "b"
    assert two.elsewhere(DEFAULT) is None
    with pytest.raises(CameraNotFound):
        other.get(DEFAULT)


def test_webcams_and_files_are_read_where_they_are(make, tmp_path):
    (tmp_path / "stills").mkdir()
    one, two = make("a", files=tmp_path), make("b")
    one.add("0", "Webcam")
    one.add("stills", "Stills")
    assert [one._can_read(each) for each in one.all()] == [True, True]
    assert [two._can_read(each) for each in two.all()] == [False, False]
