"""One person's page in a real browser: consent and tags, where photos came from, choosing several, moving, the bin, groups."""

from __future__ import annotations

import io
import re

import pytest

from .browsing import PHONE, Visit

pytestmark = pytest.mark.browser

WIDE = {"width": 1440, "height": 900}


@pytest.fixture
def server(without_camera, faces):
    """Barack Obama with two photos whose files have names, and Joe Biden with one."""
    server = without_camera
    server.clear()
    for item in server.get("/bin").json()["items"]:
        server.request("DELETE", f"/bin/{item['id']}")
    for name, file, photo in (
        ("Barack Obama", "beach.jpg", "obama"),
        ("Barack Obama", "podium.jpg", "obama3"),
        ("Joe Biden", "portrait.jpg", "biden"),
    ):
        sent = {"subject": name, "taken": "2021-03-04T05:06:07Z"}
        assert server.post("/enroll", data=sent, files=[("file", (file, io.BytesIO(faces[photo])))]).status_code == 201
    return server


def names_of_photos(page) -> list[str]:
    page.locator(".photo").first.wait_for()
    return page.locator(".photo-file").all_inner_texts()


def test_consent_and_tags_are_changed_and_shown_in_the_list(visit, server):
    page = visit.open("#/people/Joe%20Biden")
    about = page.locator(".about-person")
    assert "No note" in about.inner_text() and "Not seen by a camera" in about.inner_text()
    page.get_by_role("button", name="Edit consent and tags").click()
    page.get_by_label("Consent: what was agreed").fill("signed on paper\nin the office")
    page.get_by_label("Valid until").fill("2090-12-31")
    page.get_by_label("Tags, separated").fill("office, night shift, office")
    page.get_by_role("button", name="Save").click()
    about.get_by_text("31 December 2090").wait_for()
    assert about.locator("a.tag").all_inner_texts() == ["office", "night shift"]
    stored = server.get("/people/Joe Biden").json()
    assert (stored["consent"], stored["expires"]) == ("signed on paper\nin the office", "2090-12-31")
    about.get_by_role("link", name="night shift").click()
    page.get_by_text("1 person with the tag “night shift”").first.wait_for()
    assert page.locator(".person").inner_text().split("\n") == ["Joe Biden", "1 photo", "Consent to 31 Dec 2090"]
    page.get_by_role("link", name="All people").click()
    page.get_by_label("Order").select_option("expires")
    page.wait_for_function("() => document.querySelector('.person-name')?.textContent === 'Joe Biden'")
    page = visit.open("#/people/Joe%20Biden")
    page.get_by_role("button", name="Edit consent and tags").click()
    page.get_by_label("Valid until").fill("2001-01-01")
    page.get_by_label("Tags, separated").fill("x" * 41)
    page.get_by_role("button", name="Save").click()
    page.locator("dialog .field-error", has_text="40 characters").wait_for()
    assert server.get("/people/Joe Biden").json()["expires"] == "2090-12-31"
    page.get_by_label("Tags, separated").fill("")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The consent has expired").wait_for()
    assert page.locator(".about-person a.tag").count() == 0


def test_photos_have_the_names_and_dates_of_their_files_and_one_is_the_cover(visit, server):
    page = visit.open("#/people/Barack%20Obama")
    assert names_of_photos(page) == ["beach.jpg", "podium.jpg"]
    page.get_by_role("button", name="Open podium.jpg").click()
    page.locator("dialog dt", has_text="Added").wait_for()
    assert page.locator("dialog h2").inner_text() == "podium.jpg" and page.locator("dialog dt", has_text="Taken").count() == 1
    page.get_by_role("button", name="Use as cover").click()
    page.locator(".photo", has_text="podium.jpg").get_by_text("Cover", exact=True).wait_for()
    person = server.get("/people/Barack Obama").json()
    [podium] = [each["id"] for each in person["photos"] if each["original"]["name"] == "podium.jpg"]
    assert person["cover"] == podium and podium in server.people()["Barack Obama"]["thumbnail"]
    page.get_by_label("Order of the photos").select_option("added")
    page.wait_for_function("() => document.querySelector('.photo-file')?.textContent === 'podium.jpg'")


def test_a_deletion_is_undone_at_once_or_from_the_bin(visit, server, faces):
    page = visit.open("#/people/Barack%20Obama")
    page.get_by_role("button", name="Remove beach.jpg").click()
    dialog = page.locator("dialog")
    assert dialog.get_by_label("Keep in the bin for 7 days").is_checked()
    assert "cannot be undone" in dialog.inner_text()
    page.get_by_role("button", name="Remove photo").click()
    page.get_by_text("The photo was removed").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.photo').length === 1")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("() => document.querySelectorAll('.photo').length === 2")
    assert names_of_photos(page) == ["beach.jpg", "podium.jpg"]
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete Barack Obama").click()
    page.get_by_text("Barack Obama and 2 photos were deleted").wait_for()
    assert list(server.people()) == ["Joe Biden"] and server.names(faces["obama"]) == [None]
    page.get_by_role("button", name="Bin").click()
    page.get_by_text("Barack Obama, 2 photos").wait_for()
    page.get_by_role("button", name="Restore: Barack Obama, 2 photos").click()
    page.get_by_text("The bin is empty").wait_for()
    visit.escape()
    page.get_by_role("link", name="Barack Obama").wait_for()
    assert server.names(faces["obama"]) == ["Barack Obama"]


def test_an_erasure_is_final(visit, server):
    page = visit.open("#/people/Barack%20Obama")
    page.get_by_role("button", name="Remove beach.jpg").click()
    page.get_by_role("button", name="Remove photo").click()
    page.get_by_text("The photo was removed").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.photo').length === 1")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_label("Erase for good now").check()
    page.get_by_role("button", name="Delete Barack Obama").click()
    page.get_by_text("Barack Obama and 2 photos were deleted").wait_for()
    assert server.get("/bin").json()["items"] == [] and list(server.people()) == ["Joe Biden"]
    page.get_by_role("link", name="Joe Biden").click()
    page.get_by_role("button", name="Remove portrait.jpg").click()
    page.get_by_role("button", name="Remove photo").click()
    page.get_by_role("heading", name="Nobody is enrolled yet").wait_for()
    [item] = server.get("/bin").json()["items"]
    page.get_by_role("button", name="Bin").click()
    page.get_by_role("button", name="Erase: A photo of Joe Biden").click()
    page.get_by_text("This cannot be undone").wait_for()
    page.get_by_role("button", name="Erase", exact=True).last.click()
    page.get_by_text("The bin is empty").wait_for()
    assert server.get(f"/bin/{item['id']}/thumbnail.jpg").status_code == 404


def test_several_photos_are_chosen_with_the_keyboard_and_moved(visit, server, faces):
    page = visit.open("#/people/Barack%20Obama")
    page.locator(".photo").first.wait_for()
    page.get_by_role("button", name="Choose several").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Choose podium.jpg").focus()
    page.keyboard.press("Space")
    page.get_by_text("1 chosen").wait_for()
    page.locator(".photo-tools").get_by_role("button", name="Move", exact=True).click()
    page.get_by_label("Move to").fill("a/b")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text=re.compile(r"\w{4}")).wait_for()
    page.get_by_label("Move to").fill("The President")
    page.keyboard.press("Enter")
    page.get_by_text("1 photo moved to The President").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.photo').length === 1")
    assert {name: each["photos"] for name, each in server.people().items()} == {
        "Barack Obama": 1,
        "Joe Biden": 1,
        "The President": 1,
    }
    page.get_by_role("button", name="Open The President").click()
    page.get_by_role("heading", name="The President").wait_for()
    assert names_of_photos(page) == ["podium.jpg"]
    assert server.enroll("Barack Obama", faces["obama2"], force="true").status_code == 201
    page = visit.open("#/people/Barack%20Obama")
    page.locator(".photo").nth(1).wait_for()
    page.get_by_role("button", name="Choose several").click()
    page.get_by_role("button", name="Choose all photos").click()
    page.get_by_text("2 chosen").wait_for()
    page.locator(".photo-tools").get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove 2 photos").click()
    page.get_by_text("2 photos of Barack Obama were removed").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Restored").wait_for()
    assert server.people()["Barack Obama"]["photos"] == 2


def test_groups_are_switched_and_people_are_added_to_the_one_that_is_shown(visit, server, faces):
    page = visit.open("#/people")
    assert page.get_by_label("Group").count() == 0  # one group is no choice
    assert server.post("/groups", json={"name": "Night shift"}).status_code == 201
    try:
        page = visit.open("#/people")
        page.get_by_label("Group").select_option("Night shift")
        page.get_by_role("heading", name="Nobody is enrolled yet").wait_for()
        page.get_by_role("button", name="Add a person").click()
        page.get_by_label("Name", exact=True).fill("Eileen Collins")
        visit.drop("dialog .stack", ("collins.jpg", faces["collins"]))
        page.get_by_role("button", name="Add 1 photo").click()
        page.get_by_text("1 added").first.wait_for()
        page.get_by_role("button", name="Done").click()
        page.get_by_role("heading", name="Eileen Collins").wait_for()
        page.locator(".photo .tag.good").wait_for()  # thumbnails and quality are of the group as well
        assert page.locator(".photo img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        page.get_by_role("button", name="Remove collins.jpg").click()
        page.get_by_role("button", name="Remove photo").click()
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("heading", name="Eileen Collins").wait_for()
        assert list(server.people()) == ["Barack Obama", "Joe Biden"]
        found = server.get("/people", params={"group": "Night shift"}).json()["people"]
        assert [each["name"] for each in found] == ["Eileen Collins"]
        page = visit.open()  # a photo that is tried is compared with known_faces
        visit.drop("#main", ("collins.jpg", faces["collins"]))
        page.get_by_role("button", name="Unknown face").first.wait_for()
        page = visit.open("#/people")
        assert page.get_by_label("Group").input_value() == "Night shift"
        page.get_by_label("Group").select_option("default")
        page.get_by_role("link", name="Joe Biden").wait_for()
    finally:
        server.request("DELETE", "/groups/Night shift")


@pytest.mark.parametrize(("size", "theme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def test_nothing_overflows_and_axe_has_no_serious_finding(chromium, server, size, theme):
    server.request(
        "PATCH", "/people/Barack Obama", json={"consent": "signed " * 30, "expires": "2090-01-01", "tags": "a," + "b" * 40}
    )
    server.request("DELETE", "/people/Joe Biden", params={"bin": "true"})
    with Visit(chromium, server.url, size=size, theme=theme) as visit:
        page = visit.open("#/people/Barack%20Obama")
        page.locator(".photo").first.wait_for()
        page.get_by_role("button", name="Choose several").click()
        page.get_by_label("Choose podium.jpg").check()
        assert visit.overflow() <= 0 and not visit.barriers()
        visit.shoot("person")
        page.locator(".photo-tools").get_by_role("button", name="Remove").click()
        page.locator(".choices").wait_for()
        assert visit.overflow() <= 0 and not visit.barriers()
        visit.shoot("remove")
        visit.escape()
        page.get_by_role("button", name="Edit consent and tags").click()
        page.get_by_label("Valid until").wait_for()
        assert visit.overflow() <= 0 and not visit.barriers()
        visit.shoot("edit")
        visit.escape()
        page = visit.open("#/people")
        page.locator(".person").wait_for()
        assert visit.overflow() <= 0 and not visit.barriers()
        visit.shoot("people")
        page.get_by_role("button", name="Bin").click()
        page.get_by_role("button", name="Restore: Joe Biden, 1 photo").wait_for()
        assert visit.overflow() <= 0 and not visit.barriers()
        visit.shoot("bin")
