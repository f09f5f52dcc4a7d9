"""The archive's views and dialogs in a real browser, on one server: folders, search, photos, videos, suggestions, groups."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile
from recognizer.events.event_log import EventLog

from ..test_archive_videos import film
from . import pictures
from .browsing import Visit
from .homes import event
from .serving import Server
from .test_archive import idle


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces):
    root = tmp_path_factory.mktemp("web-archive")
    album, old = root / "photos" / "album", root / "photos" / "old"
    album.mkdir(parents=True)
    old.mkdir()
    for name in ("obama", "obama2", "biden"):
        (album / f"{name}.jpg").write_bytes(pictures.smaller(faces[name], 400))
    film(album / "party.mp4", [(pictures.smaller(faces["obama3"], 400), 3), (pictures.smaller(faces["collins"], 400), 2)])
    (album / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (old / "nobody.jpg").write_bytes(pictures.nobody())
    settings = {"archive_files": str(root / "photos"), "strangers": "all", "event_scenes": "on"}
    server = Server(root, camera="none", watch="off", **settings)
    server.put("Joe Biden/one.jpg", faces["biden"])
    past = [event("unknown", None, days_ago=5), event("left", None, days_ago=5, appearance=1, seconds=3)]
    log = EventLog(server.state / "events")
    log.append([*past, event(subject="Joe Biden", scene_faces=1)], [], [None, None, faces["biden"]])
    log.close()
    with server:
        for folder in ("album", "old"):
            server.post("/archive/folders", json={"folder": folder})
        update(server, lambda shown: shown["status"]["photos"] == 6)
        old.rename(old.with_name("away"))
        update(server, lambda shown: shown["folders"][1]["state"] == "missing")
        yield server


def update(server: Server, done) -> None:
    """Update the archive until it is as it should be, and nothing runs any more."""
    server.wait_for(lambda: server.post("/archive/update").status_code == 202)
    server.wait_for(lambda: done(server.get("/archive").json()) and idle(server))


@pytest.fixture
def page(chromium, server):
    with Visit(chromium, server.url) as visit:
        visit.open("#/archive").get_by_role("list", name="People of the archive").wait_for()
        visit.page.visit = visit
        yield visit.page


def people(server: Server, **query) -> list[dict]:
    return server.get("/archive/people", params=query).json()["people"]


def group_of(server: Server, subject: str) -> dict:
    return next(each for each in people(server) if each["subject"] == subject)


def cards(page):
    return page.locator(".archive-grid .archive-face")


def loaded(server: Server, image) -> None:
    server.wait_for(lambda: image.evaluate("image => image.complete && image.naturalWidth > 20"))


def test_folders_say_what_is_missing_and_are_removed_after_a_question(page, server):
    page.get_by_text("old is not there (missing). What is known of its photos is kept.").wait_for()
    page.get_by_text(re.compile("5 photos, 1 video, 5 faces")).wait_for()
    page.get_by_role("button", name="Folders").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("1 file cannot be used; recognizer archive list says why.").wait_for()
    assert dialog.get_by_role("listitem").all_inner_texts()[0].startswith("album")
    dialog.get_by_role("button", name="Remove old").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert len(server.get("/archive").json()["folders"]) == 2
    page.get_by_role("button", name="Folders").click()
    page.get_by_role("button", name="Remove old").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("old is not there").wait_for(state="detached")
    assert [each["name"] for each in server.get("/archive").json()["folders"]] == ["album"]
    page.get_by_role("button", name="Update").click()
    server.wait_for(lambda: idle(server))


def test_a_search_by_photo_by_date_and_from_other_views(page, server, faces):
    page.visit.choose(page.get_by_role("button", name="By photo"), ("obama.jpg", faces["obama2"]))
    page.get_by_role("heading", name="3 pictures of this face").wait_for()
    page.get_by_label("to", exact=True).fill("1991-01-01")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("heading", name="No picture of this face").wait_for()
    page.get_by_label("to", exact=True).fill("")
    page.get_by_label("Find", exact=True).fill("Nobody at all")
    page.get_by_role("button", name="Search").click()
    page.get_by_text(re.compile("Nobody at all")).first.wait_for()  # the server says who is not known

    page.visit.open("#/try")
    page.visit.drop("main", ("obama.jpg", faces["obama2"]))
    page.get_by_role("button", name="Find in the archive").first.click()
    page.get_by_role("heading", name="3 pictures of this face").wait_for()
    server.wait_for_strangers()
    page.visit.open("#/strangers").get_by_role("link", name="Find in the archive").first.click()
    page.get_by_role("heading", name="3 pictures of this stranger").wait_for()


def test_a_video_shows_when_and_the_frame(page, server, faces):
    page.visit.choose(page.get_by_role("button", name="By photo"), ("collins.jpg", faces["collins"]))
    page.get_by_role("heading", name="1 picture of this face").wait_for()
    loaded(server, cards(page).locator("img"))
    assert re.search(r"0:00:0[3-4]", cards(page).inner_text())
    page.locator(".archive-open").click()
    dialog = page.get_by_role("dialog")
    loaded(server, dialog.locator("img"))
    assert "time_s=" in dialog.locator("img").get_attribute("src")
    dialog.get_by_text(re.compile("at 0:00:0[3-4] of the video")).wait_for()
    dialog.get_by_text("album/party.mp4").wait_for()
    page.visit.shoot("video")
    page.visit.escape()


def test_a_photo_leads_to_its_person_and_is_corrected(page, server, faces):
    page.visit.choose(page.get_by_role("button", name="By photo"), ("obama.jpg", faces["obama2"]))
    page.get_by_role("heading", name="3 pictures of this face").wait_for()
    page.locator(".archive-open").first.click()
    page.get_by_role("dialog").get_by_role("button", name="All of this person").click()
    page.get_by_role("heading", name=re.compile("3 pictures of group")).wait_for()
    group = max(people(server), key=lambda each: each["faces"])
    page.locator(".archive-open").last.click()
    page.get_by_role("dialog").get_by_role("button", name="Not this person").click()
    page.get_by_role("dialog").wait_for(state="detached")
    server.wait_for(lambda: server.get(f"/archive/people/{group['id']}").json()["faces"] == 2)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone: the move").wait_for()
    page.locator(".stranger", has_text="3 pictures").get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("heading", name=re.compile("3 pictures of group")).wait_for()
    page.locator(".archive-open").last.click()
    page.get_by_role("dialog").get_by_role("button", name="Not a face").click()
    page.get_by_role("heading", name=re.compile("2 pictures of group")).wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone: “not a face”").wait_for()
    assert server.get(f"/archive/people/{group['id']}").json()["faces"] == 3


def suggest(server: Server, group: int, name: str) -> None:
    file = ArchiveFile(server.state / ARCHIVE_FILE)
    file.put_people([replace(file.people([group])[group], likely=name, likely_rate=0.01)])
    file.close()


def test_a_suggestion_is_refused_and_accepted(page, server):
    group = max(people(server), key=lambda each: each["faces"])["id"]
    for answer, name in (("No, not Ada Lovelace", "Ada Lovelace"), ("Yes, Barack Obama", "Barack Obama")):
        suggest(server, group, name)
        page.visit.open("#/archive")
        page.get_by_role("heading", name="Is this right?").wait_for()
        page.get_by_role("list", name="Suggestions").get_by_role("button", name=answer).click()
        page.get_by_role("heading", name="Is this right?").wait_for(state="detached")
    held = server.get(f"/archive/people/{group}").json()
    assert held["subject"] == "Barack Obama" and held["decided"]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone: the name").wait_for()


def test_groups_are_told_apart_merged_hidden_and_enrolled(page, server):
    biden = group_of(server, "Joe Biden")["id"]
    other = min((each for each in people(server) if each["id"] != biden), key=lambda each: each["faces"])
    card = page.locator(f'.stranger[data-group="{biden}"]')
    card.get_by_role("button", name="Name").click()
    page.get_by_role("button", name="Same as another group").click()
    same = page.get_by_role("dialog", name="Same as which group?")
    page.visit.shoot("apart")
    row = same.get_by_role("listitem").filter(has_text=f"Group {other['id']}")
    row.get_by_role("button", name="Somebody else").click()
    page.get_by_text("They are never merged").wait_for()
    row.wait_for(state="detached")
    page.visit.escape()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone: “somebody else”").wait_for()

    card.get_by_role("button", name="Name").click()
    page.get_by_role("button", name="Same as another group").click()
    same.get_by_role("button", name=f"Group {other['id']}").click()
    page.get_by_text("Merged", exact=True).wait_for()
    server.wait_for(lambda: len(people(server)) == 2)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone: the merge").wait_for()

    page.get_by_role("button", name=f"Hide Group {other['id']}").click()
    page.get_by_text("Hidden", exact=True).wait_for()  # not the button, which may be there already
    assert [each["id"] for each in people(server, hidden=True)] == [other["id"]]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone: hiding").wait_for()
    server.request("PATCH", f"/archive/people/{other['id']}", data={"hidden": "true"})
    page.visit.open("#/archive")
    page.get_by_role("button", name="Hidden people").click()
    page.get_by_role("dialog", name="Hidden people").get_by_role("button", name="Show again").click()
    page.locator(f'.stranger[data-group="{other["id"]}"]').wait_for()
    page.visit.escape()
    page.get_by_role("button", name="Hidden people").wait_for(state="detached")

    page.locator(".stranger", has_text="3 pictures").get_by_role("button", name="Name").click()
    page.get_by_role("dialog").get_by_label("Name", exact=True).fill("Barack Obama")
    page.get_by_role("dialog").get_by_role("button", name="Enrol").click()
    page.get_by_text("Barack Obama is enrolled").wait_for()
    assert server.get("/people/Barack%20Obama").json()["photos"]


def test_visits_are_filtered_by_day_and_show_the_scene(page, server):
    page.visit.open("#/live")
    visits = page.locator(".visit")
    server.wait_for(lambda: visits.count() == 2)
    yesterday = page.evaluate("new Date(Date.now() - 2 * 864e5).toISOString().slice(0, 10)")
    page.get_by_label("To day").fill(yesterday)
    server.wait_for(lambda: visits.count() == 1)
    assert "Unknown person" in visits.inner_text()
    page.visit.shoot("days")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = download.value.path().read_text().splitlines()
    assert len(rows) == 3 and rows[0].startswith("id,time,kind") and ",unknown,door," in rows[1]
    page.get_by_label("To day").fill("")
    page.get_by_label("From day").fill(yesterday)
    server.wait_for(lambda: visits.count() == 1 and "Joe Biden" in visits.inner_text())
    page.get_by_role("button", name="Show the whole picture").click()
    dialog = page.get_by_role("dialog", name="Joe Biden at door")
    loaded(server, dialog.locator("img"))
    page.visit.shoot("scene")
    page.visit.escape()
