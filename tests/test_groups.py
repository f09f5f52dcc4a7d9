"""Groups: whatever holds for known_faces holds for each of them, in folders and in a database."""

from __future__ import annotations

import shutil
import zipfile
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

import recognizer
from recognizer.backup import backup, reseal, restore
from recognizer.core.errors import Busy, GroupFixed, GroupNotFound, GroupTaken, InvalidGroup, SubjectNotFound
from recognizer.core.lock import WriteLock
from recognizer.core.settings import Settings
from recognizer.core.vault import Vault
from recognizer.database.connection import Database
from recognizer.photos.remarks import Comparability
from recognizer.service import make_service
from recognizer.service.detected_faces import FaceStore

from .streams import wait_for

VAULT = Vault([bytes(range(32))])


class Home:
    """A folder of known faces, or a database, and services on it."""

    def __init__(self, root, models_dir, **settings):
        self.settings = Settings(
            known_faces=root / "known", state_dir=root / "state", models_dir=models_dir, watch=False, workers=1, **settings
        )
        self._made = []

    def open(self, **changes):
        made = make_service(self.settings.replace(**changes))
        self._made.append(made)
        made.start()
        return made

    @contextmanager
    def database(self):
        """The database; None for a folder."""
        if not self.is_shared:
            yield None
            return
        with closing(Database(self.settings.database_url)) as made:
            yield made

    def close(self, made=None):
        for each in [made] if made else list(self._made):
            self._made.remove(each)
            each.close()

    @property
    def is_shared(self) -> bool:
        return self.settings.database_url is not None

    @property
    def group_state(self):
        return self.settings.state_dir / "groups"

    def photo_files(self) -> list:
        """The files with photos of people in groups, or with notes and ids of people."""
        folder = self.settings.photos if self.is_shared else self.settings.groups_dir
        return [file for file in Path(folder).rglob("*") if file.is_file() and file.name != ".group.json"]

    @property
    def places(self):
        return reseal.Places(self.settings.known_faces, self.settings.state_dir, self.settings.groups_dir)


@pytest.fixture
def home(tmp_path, models_dir):
    made = Home(tmp_path, models_dir)
    yield made
    made.close()


@pytest.fixture(params=["folder", pytest.param("database", marks=pytest.mark.network)])
def any_home(request, tmp_path, models_dir):
    settings = {}
    if request.param == "database":
        (tmp_path / "photos").mkdir()
        settings = {"database_url": request.getfixturevalue("database_url"), "photos": str(tmp_path / "photos")}
    made = Home(tmp_path, models_dir, **settings)
    yield made
    made.close()


@pytest.fixture(scope="module")
def faces(photos):
    files = {"obama": "obama.jpg", "obama2": "obama2.jpg", "biden": "biden.jpg"}
    return {name: photos[file].read_bytes() for name, file in files.items()}


def described(vision, image):
    """The embeddings of the faces of a picture."""
    faces = vision.detect(image)
    return vision.describe(image, faces, vision.qualities(image, faces))[0]


def named(group, photo) -> list[str | None]:
    return [face.subject for face in group.recognition.recognize(photo).faces]


@pytest.mark.slow
def test_each_group_names_its_own_people_only(any_home, faces):
    service = any_home.open()
    service.subjects.enrol("Barack", faces["obama"])
    staff, guests = service.groups.add("staff"), service.groups.add("Guests of the house")
    staff.subjects.enrol("The boss", faces["obama"])
    guests.subjects.enrol("Joe", faces["biden"])
    assert service.groups.names() == ["default", "Guests of the house", "staff"]
    assert named(service.groups.get(), faces["obama2"]) == ["Barack"]
    assert named(staff, faces["obama2"]) == ["The boss"] and named(guests, faces["obama2"]) == [None]
    assert service.groups.get("default") is service.groups.get(None) is service.groups.default
    assert [person.name for person in service.subjects.all()] == ["Barack"]
    lines = service.audit_page(action="enroll")["lines"]
    assert [line["name"] for line in lines] == ["Barack", "staff/The boss", "Guests of the house/Joe"]
    any_home.close(service)
    again = any_home.open()  # the group of a folder is its folder
    assert named(again.groups.get("staff"), faces["obama2"]) == ["The boss"]


def test_which_names_a_group_can_have(any_home):
    service = any_home.open()
    for name in ("", "  ", "..", "a/b", ".x", "con", "x" * 129):
        with pytest.raises(InvalidGroup):
            service.groups.add(name)
        with pytest.raises(GroupNotFound):
            service.groups.get(name)
    assert not any_home.settings.groups_dir.exists()
    service.groups.add("Staff")
    for taken in ("Staff", "staff", "default", "Default"):
        with pytest.raises(GroupTaken):
            service.groups.add(taken)
    with pytest.raises(GroupFixed):
        service.groups.delete("default")
    with pytest.raises(GroupNotFound):
        service.groups.delete("nobody's")


@pytest.mark.slow
def test_photos_dropped_into_a_group_are_taken_up_while_a_server_runs_and_go_with_their_files(home, faces):
    service = home.open(watch=True)
    folder = home.settings.groups_dir / "staff" / "Joe"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(faces["biden"])
    wait_for(lambda: "staff" in service.groups.names() and len(service.groups.get("staff").gallery) == 1)
    assert named(service.groups.get("staff"), faces["biden"]) == ["Joe"] and not len(service.gallery)
    shutil.rmtree(folder.parent)
    wait_for(lambda: not (home.group_state / "staff").exists())
    assert service.groups.opened() == []
    with pytest.raises(GroupNotFound):
        service.groups.get("staff")


@pytest.mark.slow
def test_a_group_that_is_deleted_while_somebody_waits_for_it_does_not_come_back(home, monkeypatch):
    service = home.open()
    service.groups.add("staff")
    folder = home.settings.groups_dir / "staff"
    service.groups._drop("staff")
    known = type(service.groups)._known

    def meanwhile(groups, name, there):
        found = known(groups, name, there)
        if folder.exists():
            shutil.rmtree(folder)
        return found

    monkeypatch.setattr(type(service.groups), "_known", meanwhile)
    with pytest.raises(GroupNotFound):
        service.groups.get("staff")
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("deleting", ["here", "elsewhere"])
def test_whoever_found_a_group_before_it_was_deleted_changes_no_other_one_of_its_name(any_home, faces, deleting):
    """As a request that waits for the lock of every write, or for a photo to be examined."""
    service = any_home.open()
    other = service if deleting == "here" else any_home.open(watch=True)
    service.groups.add("staff").subjects.enrol("Joe", faces["biden"])
    found = service.groups.get("staff")
    subjects = found.subjects
    changes = (
        lambda: subjects.enrol("Joe", faces["biden"]),
        lambda: subjects.add_empty("Eve"),
        lambda: subjects.rename("Joe", "Joseph"),
        lambda: subjects.delete("Joe"),
        subjects.empty_bin,
    )
    wait_for(lambda: "staff" in other.groups.names())
    other.groups.delete("staff")
    for change in changes:
        with pytest.raises(GroupNotFound):
            change()
    assert other.groups.names() == ["default"] and any_home.photo_files() == []
    other.groups.add("staff")
    for change in changes:
        with pytest.raises(Busy, match="made anew"):
            change()
    assert [person.name for person in other.groups.get("staff").subjects.all()] == [] and any_home.photo_files() == []
    other.groups.get("staff").subjects.enrol("Joe", faces["biden"])
    assert [person.name for person in other.groups.get("staff").subjects.all()] == ["Joe"]


@pytest.mark.slow
def test_two_services_on_one_folder_or_database_know_of_each_other(any_home, faces):
    one, other = any_home.open(watch=True), any_home.open(watch=True)
    one.groups.add("staff").subjects.enrol("Joe", faces["biden"])
    wait_for(lambda: len(other.groups.get("staff").gallery) == 1)
    other.groups.get("staff").subjects.delete("Joe")
    wait_for(lambda: not len(one.groups.get("staff").gallery))
    other.groups.delete("staff")
    other.groups.add("staff").subjects.enrol("Barack", faces["obama"])  # another group of the same name

    def seen_by_one():
        try:
            return named(one.groups.get("staff"), faces["obama2"])
        except GroupNotFound:  # between the two
            return None

    wait_for(lambda: seen_by_one() == ["Barack"])
    assert one.unready() == []


def test_who_is_erased_from_a_group_leaves_nothing_and_others_of_the_name_stay(any_home, faces):
    service = any_home.open()
    service.subjects.enrol("Barack", faces["obama"])
    staff = service.groups.add("staff")
    staff.subjects.enrol("Barack", faces["obama"])
    assert staff.subjects.delete("Barack")["photos"] == 1
    assert named(service.groups.get(), faces["obama2"]) == ["Barack"]
    with pytest.raises(SubjectNotFound):
        staff.subjects.person("Barack")
    assert list(service.audit.names().values()) == ["Barack"]
    assert len(any_home.photo_files()) == any_home.is_shared  # the same photo of somebody in the default group
    assert not any(staff.erasures.whose("Barack").photos)


@pytest.mark.slow
def test_a_deleted_group_is_gone_with_its_people_and_templates(any_home, faces):
    service = any_home.open()
    staff = service.groups.add("staff")
    staff.subjects.enrol("Joe", faces["biden"])
    id_ = service.groups.identity("staff").id
    assert service.groups.delete("staff") == {"deleted": "staff", "people": 1, "photos": 1}
    assert service.groups.names() == ["default"] and not (any_home.group_state / "staff").exists()
    assert any_home.photo_files() == [] and service.audit.names() == {}
    assert any_home.is_shared or list(any_home.settings.groups_dir.iterdir()) == []
    assert service.groups.add("staff") and service.groups.identity("staff").id != id_


@pytest.mark.slow
def test_an_id_and_what_clients_store_outlive_a_restart(any_home):
    service = any_home.open()
    service.groups.add("staff", azure={"name": "The staff"})
    if any_home.is_shared:
        service.groups.add("by hand")
    else:
        (any_home.settings.groups_dir / "by hand").mkdir()
    ids = [service.groups.identity(name).id for name in ("staff", "by hand", "default")]
    service.groups.set_data("staff", rekognition={"users": 2})
    any_home.close(service)
    again = any_home.open()
    assert [again.groups.identity(name).id for name in ("staff", "by hand", "default")] == ids
    assert again.groups.identity("staff").data == {"azure": {"name": "The staff"}, "rekognition": {"users": 2}}


@pytest.mark.slow
def test_an_expired_consent_erases_in_a_group_as_well(any_home, faces):
    service = any_home.open()
    staff = service.groups.add("staff")
    staff.subjects.enrol("Joe", faces["biden"])
    staff.subjects.set_consent("Joe", "spoken", "2020-01-01")
    service.subjects.enrol("Joe", faces["biden"])
    assert list(service.groups.expired()) == ["staff/Joe"] and named(staff, faces["biden"]) == [None]
    for name in service.groups.expired():
        service.groups.erase(name)
    assert staff.subjects.all() == [] and service.subjects.person("Joe").templates == 1


@pytest.mark.slow
def test_a_group_is_encrypted_backed_up_and_restored(home, faces, tmp_path):
    service = home.open()
    staff = service.groups.add("staff", azure={"name": "The staff"})
    staff.subjects.enrol("Joe", faces["biden"])
    id_, person = service.groups.identity("staff").id, staff.ids.of("Joe").id
    home.close(service)
    with reseal.alone(home.places):
        reseal.reseal(home.places, None, VAULT)
    files = [file for file in home.settings.groups_dir.rglob("*") if file.is_file()]
    assert len(files) == 3 and all(file.read_bytes().startswith(b"RCGZ") for file in files)
    presence = reseal.EncryptionPresence(home.places)
    with open(tmp_path / "backup.zip", "w+b") as file:
        told = backup.write(home.places, file, VAULT, WriteLock(home.settings.state_dir), "1")
    presence.close()
    assert told["people"] == 1 and told["photos"] == 1 and told["left_out"] == []
    with zipfile.ZipFile(tmp_path / "backup.zip") as opened:
        assert b"Joe" not in b"".join(opened.read(name) for name in opened.namelist())
    elsewhere = reseal.Places(tmp_path / "else" / "known", tmp_path / "else" / "state", tmp_path / "else" / "groups")
    restore.restore(tmp_path / "backup.zip", elsewhere, VAULT)
    assert {each.name for each in elsewhere.groups.rglob("*")} == {"staff", "Joe", *(f.name for f in files)}
    restore.restore(tmp_path / "backup.zip", home.places, VAULT, replace=True)
    with reseal.alone(home.places):
        reseal.reseal(home.places, VAULT, None)
    again = home.open()
    assert again.groups.identity("staff").id == id_ and again.groups.get("staff").ids.of("Joe").id == person
    assert named(again.groups.get("staff"), faces["biden"]) == ["Joe"]


@pytest.mark.slow
def test_the_id_of_a_person_outlives_names_and_restarts_and_is_erased_with_the_person(any_home, faces, tmp_path):
    service = any_home.open()
    staff = service.groups.add("staff")
    staff.subjects.enrol("Barack", faces["obama"])
    id_ = staff.ids.of("Barack").id
    staff.ids.set_data("Barack", azure={"userData": "president"})
    assert staff.ids.of("Barack").id == id_ == staff.ids.of("Barack").id
    staff.subjects.rename("Barack", "Mr Obama")
    assert staff.ids.name_of(id_) == "Mr Obama"
    any_home.close(service)
    staff = any_home.open().groups.get("staff")
    assert staff.ids.name_of(id_) == "Mr Obama" and staff.ids.of("Mr Obama").data == {"azure": {"userData": "president"}}
    if not any_home.is_shared:
        folder = staff.enrolment.folder.root
        shutil.copytree(folder / "Mr Obama", folder / "A copy")  # by hand: another person
        assert staff.ids.of("A copy").id != id_ and staff.ids.name_of(id_) == "Mr Obama"
    staff.subjects.export("Mr Obama", tmp_path / "obama.zip")
    with zipfile.ZipFile(tmp_path / "obama.zip") as opened:
        assert id_ in opened.read("identity.json").decode()
    (photo,) = staff.subjects.person("Mr Obama").photos
    staff.subjects.delete_photo("Mr Obama", photo.id)
    assert staff.ids.name_of(id_) == "Mr Obama"  # clients know them still
    staff.subjects.delete("Mr Obama")
    with pytest.raises(SubjectNotFound):
        staff.ids.name_of(id_)
    assert all(id_ not in file.read_text() for file in any_home.photo_files() if file.name == ".person.json")
    with any_home.database() as database:
        assert not database or database.rows("select count(*) from subject where people_group <> 0") == [(0,)]


@pytest.mark.slow
def test_who_is_joined_with_another_has_the_others_id(any_home, faces):
    service = any_home.open()
    for name, photo in {"Barack": "obama", "Mr Obama": "obama2", "Joe": "biden"}.items():
        service.subjects.enrol(name, faces[photo], force=True)
    ids = service.groups.default.ids
    kept, gone = ids.of("Barack").id, ids.of("Mr Obama").id
    service.subjects.rename("Mr Obama", "Barack", merge=True)
    assert ids.name_of(kept) == "Barack"
    with pytest.raises(SubjectNotFound):
        ids.name_of(gone)
    service.subjects.rename("Barack", "Joe", merge=True)  # who had none
    assert ids.name_of(kept) == "Joe"


def test_detected_faces_are_known_for_their_time_and_the_oldest_go_first():
    now = [0.0]
    store = FaceStore(most=3, now=lambda: now[0])
    one = store.add(np.ones(4, np.float32), Comparability(), 60)
    other = store.add(np.zeros(4, np.float32), Comparability(), 600)
    assert one != other and store.get(one).vector.tolist() == [1, 1, 1, 1]
    now[0] = 60.0
    assert store.get(one) is None and store.get(other) is not None
    for _ in range(3):
        last = store.add(np.ones(4, np.float32), Comparability(), 60)
    assert len(store) == 3 and store.get(other) is None and store.get(last) is not None
    assert store.forget_like(lambda vector: bool(vector.sum() == 4)) == 3 and store.count_like(lambda vector: True) == 0


@pytest.mark.slow
def test_a_camera_names_the_people_of_its_group_whatever_becomes_of_the_group(any_home, faces):
    service = any_home.open()
    service.subjects.enrol("Barack", faces["obama"])
    service.groups.add("staff").subjects.enrol("The boss", faces["obama"])
    cameras = service.video.cameras
    yard, door = cameras.add("test:", "yard"), cameras.add("test:", "door", group="staff")
    any_home.close(service)
    service = any_home.open()
    cameras = service.video.cameras
    image = service.recognition.decode(faces["obama2"])

    def seen(camera) -> str | None:
        vision = service.video.vision_at(cameras.get(camera))
        (match,) = vision.match(described(vision, image))
        assert vision.decide(match.candidates).subject == match.subject
        return match.subject

    assert (seen(yard.id), seen(door.id)) == ("Barack", "staff/The boss")
    vision = service.video.vision_at(cameras.get(door.id))
    before = vision.generation
    service.groups.delete("staff")
    assert seen(door.id) is None and vision.generation != before
    service.groups.add("staff").subjects.enrol("Somebody", faces["obama"])
    assert seen(door.id) == "staff/Somebody"
    old = cameras.get(door.id).camera
    assert cameras.change(door.id, group="default").camera is not old and seen(door.id) == "Barack"


@pytest.mark.slow
def test_events_of_people_of_a_group_are_renamed_and_erased_with_them(any_home, faces):
    from .e2e.homes import event
    from .test_erasures import happened

    service = any_home.open()
    service.subjects.enrol("Joe", faces["biden"])
    staff = service.groups.add("staff")
    staff.subjects.enrol("Joe", faces["biden"])
    happened(service, event(subject="Joe"), event(subject="staff/Joe"))
    staff.subjects.rename("Joe", "Joe B")
    assert len(service.events.find("staff/Joe B")) == 1 and service.events.find("staff/Joe") == []
    service.groups.delete("staff")
    assert service.events.find("staff/Joe B") == [] and len(service.events.find("Joe")) == 1


@pytest.mark.slow
def test_groups_from_python(tmp_path, models_dir, photos):
    where = {"state_dir": tmp_path / "state", "models_dir": models_dir, "workers": 1}
    with recognizer.open(tmp_path / "known", **where) as people:
        with pytest.raises(GroupNotFound):
            people.group("staff")
        staff = people.group("staff", create=True)
        staff.enroll("Joe", photos["biden.jpg"])
        assert people.groups() == ["default", "staff"] and staff.names() == ["Joe"] and people.names() == []
        assert [face.subject for face in people.group("staff").recognize(photos["biden.jpg"])] == ["Joe"]
        assert [face.subject for face in people.recognize(photos["biden.jpg"])] == [None]
        assert staff.verify(photos["biden.jpg"], subject="Joe").same and "staff" in repr(staff)
        image = people.service.recognition.decode(photos["biden.jpg"].read_bytes())
        for each, name in ((staff, "Joe"), (people, None)):
            assert each.vision.match(described(each.vision, image))[0].subject == name
        people.delete_group("staff")
        assert people.groups() == ["default"]
