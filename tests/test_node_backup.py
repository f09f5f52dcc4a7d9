"""Backups of what nodes share: made while people change, restored to a folder and to another database."""

from __future__ import annotations

import base64
import json
from contextlib import closing

import numpy as np
import pytest

from recognizer.access.access_file import AccessFile
from recognizer.access.access_tables import AccessTables
from recognizer.access.keys import Keys
from recognizer.backup.backup_file import BackupReader
from recognizer.backup.reseal import Places
from recognizer.backup.restore import restore
from recognizer.core.audit import AuditLog
from recognizer.core.errors import NotEmpty
from recognizer.core.settings import Settings
from recognizer.core.vault import new_key, open_vault
from recognizer.database.connection import Database
from recognizer.service import make_service, node_backup
from recognizer.video.camera_settings import parse_settings

from .commands import run_command
from .push_services import Browser
from .services import quick_settings, started
from .test_rules import event

pytestmark = [pytest.mark.network, pytest.mark.slow]
MASK = parse_settings({"masks": [{"points": [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]}], "stranger_rate": 0.001})


def node(database_url: str, root, models_dir, key) -> Settings:
    (root / "photos").mkdir(parents=True)
    return quick_settings(root, models_dir, encryption_key=key, database_url=database_url, photos=str(root / "photos"))


@pytest.fixture(params=["plain", "sealed"])
def key(request):
    return base64.b64encode(new_key()).decode() if request.param == "sealed" else None


@pytest.fixture
def home(database_url, tmp_path, models_dir, key, faces, photos):
    """A node, with everything that nodes share."""
    settings = node(database_url, tmp_path / "node", models_dir, key)
    with started(settings) as made:
        made.subjects.enrol("Ada", faces["obama"], file="beach.jpg")
        made.subjects.enrol("Ada", photos["obama3.jpg"].read_bytes())
        made.subjects.set_consent("Ada", "signed", "2090-01-01")
        made.subjects.describe("Ada", tags=("office",))
        made.groups.default.ids.of("Ada")
        made.groups.add("staff").subjects.enrol("Zed", faces["biden"])
        camera = made.video.cameras.add("test:320x240", "Front door", group="staff").id
        made.video.cameras.change(camera, name="Hall")
        made.video.configure(camera, MASK)
        made.rules.add(
            {"who": "people", "people": ("Ada",), "cameras": (camera,), "action": "webhook", "url": "https://x.org/"}
        )
        made.tuning.change("stranger_rate", 0.05)
        made.receivers.change({"webhooks": ["https://example.org/hook?token=hidden"], "webhook_secret": "hidden words"})
        made.push.store.add(Browser("https://push.example").subscription(key="door"))
        with closing(Database(database_url)) as database:
            keys = Keys(AccessTables(database))
            keys.add("door", "read")
            keys.revoke(keys.add("gone", "admin")[0].id)
        yield made


def run(settings: Settings, *command):
    """Run a command with these settings."""
    names = ("known_faces", "state_dir", "models_dir", "detector", "embedder", "encryption_key", "database_url", "photos")
    given = {f"RECOGNIZER_{name.upper()}": getattr(settings, name) for name in names}
    return run_command({name: str(value) for name, value in given.items() if value is not None}, *command)


def told(service) -> dict:
    """What clients see of an installation."""
    ada = service.subjects.person("Ada")
    staff = service.groups.get("staff")
    return {
        "people": {name: [each.name for each in service.groups.get(name).subjects.all()] for name in service.groups.names()},
        "photos": {each.id: service.subjects.photo("Ada", each.id) for each in ada.photos},
        "thumbnails": {each.id: service.subjects.thumbnail("Ada", each.id) for each in ada.photos},
        "about": (ada.consent, ada.particulars),
        "ids": (service.groups.default.ids.known("Ada"), service.groups.known_identity("staff")),
        "templates": {each.photo: each.embedding.vector.tolist() for each in service.gallery.templates("Ada")},
        "staff": {each.photo: each.embedding.vector.tolist() for each in staff.gallery.templates("Zed")},
        "cameras": [(each.name, each.text, each.group) for each in service.video.cameras.all() if not each.fixed],
        "settings": list(service.camera_settings.all().values()),
        "rules": [(each.id, each.people, each.url) for each in service.rules.store.all()],
        "rate": service.tuning.stranger_rate,
        "receivers": service.receivers.store.all(),
        "push": (service.push.store.key(), service.push.store.all()),
        "names": sorted(service.audit.names().values()),
    }


def written(service, file) -> dict:
    with open(file, "w+b") as opened:
        return node_backup.write(service, opened)


def test_a_backup_is_restored_to_a_folder_and_to_another_database(home, tmp_path, models_dir, key, cluster, faces, photos):
    before = told(home)
    done = written(home, tmp_path / "backup.zip")
    assert (done["people"], done["photos"], done["encrypted_with"]) == (2, 3, home.vault and home.vault.current)
    assert done["left_out"] == [node_backup.PER_NODE] and not list(home.settings.state_dir.glob(".backup-*"))
    assert (faces["obama"] in (tmp_path / "backup.zip").read_bytes()) is (key is None)

    # to a folder, which a single server uses
    alone = quick_settings(tmp_path / "alone", models_dir, encryption_key=key)
    places = Places(alone.known_faces, alone.state_dir)
    assert restore(tmp_path / "backup.zip", places, home.vault)["audit_problems"] == []
    with started(alone) as made:
        assert told(made) == before
        (camera,) = [each.id for each in made.video.cameras.all() if not each.fixed]
        assert camera == "front-door" and made.rules.store.all()[0].cameras == ("front-door",)
        keys = AccessFile(alone.state_dir / "access.sqlite").held().keys.values()
        assert sorted((each.name, each.revoked is not None) for each in keys) == [("door", False), ("gone", True)]
        assert AuditLog(alone.state_dir / "audit", home.vault).verify().problems == []
        assert [line["action"] for line in made.audit_page()["lines"]][-2:] == ["backup", "restore"]

    # to another database
    there = node(cluster.make_database(), tmp_path / "other", models_dir, key)
    ended = run(there, "restore", tmp_path / "backup.zip", "--json")
    assert ended.exit_code == 0, ended.stderr
    restored = json.loads(ended.stdout)
    assert (restored["people"], restored["photos"], restored["problems"]) == (2, 3, 0)
    with started(there) as made:
        assert told(made) == before
        assert made.audit.verify().problems == []
        assert [each.match.subject for each in made.recognition.recognize(photos["obama2.jpg"].read_bytes()).faces] == ["Ada"]
        with closing(Database(there.database_url)) as database:
            keys = AccessTables(database).held(fresh=True).keys.values()
        assert sorted((each.name, each.revoked is not None) for each in keys) == [("door", False), ("gone", True)]
    assert not list(there.state_dir.glob(".backup-*"))
    again = run(there, "restore", tmp_path / "backup.zip", "--json")
    assert again.exit_code == 1 and json.loads(again.stdout)["error"]["code"] == "not_empty"
    assert run(there, "restore", tmp_path / "backup.zip", "--replace").exit_code == 2


def test_whoever_changes_meanwhile_is_complete_in_it_or_absent(home, tmp_path, faces, monkeypatch):
    copied = node_backup._NodeBackup.copy_people

    def copy_and_change(self):
        copied(self)
        first = home.subjects.person("Ada").photos[0].id
        home.subjects.rename("Ada", "Eve")
        home.subjects.delete_photo("Eve", first)
        home.groups.get("staff").subjects.delete("Zed")
        home.subjects.enrol("New", faces["collins"])
        home.groups.add("guests").subjects.enrol("Guest", faces["biden"])

    monkeypatch.setattr(node_backup._NodeBackup, "copy_people", copy_and_change)
    done = written(home, tmp_path / "backup.zip")
    with BackupReader(tmp_path / "backup.zip", home.vault) as reader:
        people = sorted(path.rpartition("/")[0] for path in reader.members if path.endswith(".jpg"))
    assert people == ["groups/guests/Guest", "known_faces/Eve", "known_faces/New"]
    assert (done["people"], done["photos"]) == (3, 3)


def test_tags_covers_and_ids_that_change_meanwhile_are_as_they_are_at_the_end(home, tmp_path, models_dir, key, monkeypatch):
    copied = node_backup._NodeBackup.copy_people
    ada = home.subjects.person("Ada")
    staff = home.groups.get("staff")

    def copy_and_change(self):
        copied(self)
        home.subjects.describe("Ada", tags=("garden", "house"), cover=ada.photos[1].id)
        staff.subjects.describe("Zed", tags=("new",))
        staff.ids.of("Zed")

    monkeypatch.setattr(node_backup._NodeBackup, "copy_people", copy_and_change)
    written(home, tmp_path / "backup.zip")
    alone = quick_settings(tmp_path / "alone", models_dir, encryption_key=key)
    restore(tmp_path / "backup.zip", Places(alone.known_faces, alone.state_dir), home.vault)
    with started(alone) as made:
        assert told(made) == told(home)
        assert made.subjects.person("Ada").particulars.tags == ("garden", "house")
        there = made.groups.get("staff")
        assert there.subjects.person("Zed").particulars.tags == ("new",) and there.ids.known("Zed") == staff.ids.known("Zed")


def test_a_restore_to_another_database_can_leave_out_who_gets_messages(home, tmp_path, models_dir, key, cluster):
    server_key = home.push.store.key()
    written(home, tmp_path / "backup.zip")
    for more, count in (((), 0), (("--without", "receivers"), 3)):
        there = node(cluster.make_database(), tmp_path / f"other {count}", models_dir, key)
        with closing(make_service(there)) as empty:
            empty.push.store.key()  # somebody has looked at the page
        ended = run(there, "restore", tmp_path / "backup.zip", "--json", *more)
        assert ended.exit_code == 0, ended.stderr
        told = json.loads(ended.stdout)
        assert (len(told["receivers"]), len(told["receivers_left_out"])) == (3 - count, count)
        assert "hidden" not in ended.stdout + ended.stderr
        with started(there) as made:
            held = (bool(made.receivers.store.all()), len(made.push.store.all()), made.rules.store.all()[0].enabled)
            assert held == ((False, 0, False) if more else (True, 1, True))
            assert made.push.store.key() == server_key


def test_tags_that_are_taken_away_meanwhile_are_not_in_it(home, tmp_path, monkeypatch):
    copied = node_backup._NodeBackup.copy_people
    staff = home.groups.get("staff").subjects
    staff.describe("Zed", tags=("gone",))

    def copy_and_change(self):
        copied(self)
        staff.describe("Zed", tags=())

    monkeypatch.setattr(node_backup._NodeBackup, "copy_people", copy_and_change)
    written(home, tmp_path / "backup.zip")
    assert not staff.person("Zed").particulars
    with BackupReader(tmp_path / "backup.zip", home.vault) as reader:
        assert [each for each in reader.members if each.startswith("groups/staff/Zed/.")] == []


def test_a_photo_that_is_lost_is_reported(home, tmp_path):
    photo = home.subjects.person("Ada").photos[0].id
    home.enrolment.photos.remove(photo)
    done = written(home, tmp_path / "backup.zip")
    assert done["photos"] == 2 and any(each.startswith(f"Ada/{photo}") for each in done["left_out"])


def test_a_log_that_has_lines_takes_no_others_in(tmp_path, home):
    log = AuditLog(tmp_path / "audit", file_bytes=200)
    log.take_in(home.audit.stored_lines(), home.audit.names())
    assert log.verify().problems == [] and len(list((tmp_path / "audit").glob("*.jsonl"))) > 1
    log.append("test")
    assert log.verify().problems == []
    for taken in (log, home.audit):
        with pytest.raises(NotEmpty):
            taken.take_in(log.stored_lines(), {})
    assert np.array_equal(sorted(log.names()), sorted(home.audit.names()))


def test_with_a_new_key_first_everything_is_encrypted_with_that(database_url, tmp_path, models_dir, faces):
    old, new = (base64.b64encode(new_key()).decode() for _ in range(2))
    settings = node(database_url, tmp_path / "node", models_dir, old)
    with started(settings) as made:
        made.subjects.enrol("Ada", faces["obama"])
    with closing(make_service(settings.replace(encryption_key=f"{new},{old}"))) as made:
        written(made, tmp_path / "backup.zip")
        assert list(made.audit.names().values()) == ["Ada"]  # which was encrypted with the old one
        assert made.subjects.delete("Ada")["left"]["names"] == 0 and not made.audit.names()
    alone = quick_settings(tmp_path / "alone", models_dir, encryption_key=new)
    restore(tmp_path / "backup.zip", Places(alone.known_faces, alone.state_dir), open_vault(new, None))
    with started(alone) as made:
        assert [each.name for each in made.subjects.all()] == ["Ada"]


def test_what_nodes_do_not_share_is_reported_by_restore(database_url, tmp_path, models_dir, key):
    alone = quick_settings(tmp_path / "alone", models_dir, encryption_key=key, webhook_allow=("127.0.0.1",))
    with closing(make_service(alone)) as made, open(tmp_path / "backup.zip", "wb") as file:
        made.start()
        made.events.hub.log.append([event(0, "Ada")])
        with made.backup() as opened:
            file.write(opened.read())
    ended = run(node(database_url, tmp_path / "node", models_dir, key), "restore", tmp_path / "backup.zip", "--json")
    assert ended.exit_code == 0, ended.stderr
    assert json.loads(ended.stdout)["left_out"] == ["events"]
    assert "nodes do not share them: events" in ended.stderr
