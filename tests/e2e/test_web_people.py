"""The view People, in a real browser: adding by drop and by camera, putting right, renaming, merging, erasing, many people."""

from __future__ import annotations

import re

import pytest

from . import pictures
from .browsing import Visit
from .serving import Server

HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;%2F?#"
MANY = 1500


@pytest.fixture
def server(without_camera, faces):
    """Barack Obama with two photos, and Joe Biden with one."""
    without_camera.enrol_only({"Barack Obama": [faces["obama"], faces["obama3"]], "Joe Biden": [faces["biden"]]})
    return without_camera


def listed(page) -> list[str]:
    page.locator(".person-name").first.wait_for()
    return page.locator(".person-name").all_inner_texts()


def test_everybody_is_listed_and_found_by_name(visit, faces):
    page = visit.open("#/people")
    assert listed(page) == ["Barack Obama", "Joe Biden"]
    assert page.get_by_text("2 people").is_visible() and page.get_by_text("2 photos", exact=True).is_visible()
    page.get_by_label("Search by name").fill("bid")
    page.get_by_text("1 person matching “bid”").first.wait_for()
    assert listed(page) == ["Joe Biden"]
    page.get_by_label("Search by name").fill("nobody at all")
    page.get_by_role("heading", name="No matches").wait_for()
    page.get_by_label("Search by name").fill("")
    page.get_by_text("2 people").wait_for()
    page.get_by_role("link", name="Joe Biden").click()
    page.get_by_role("heading", name="Joe Biden").wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H1" and page.title() == "Joe Biden · Recognizer"


def test_people_without_usable_photos_are_counted_and_explained(visit, server, faces):
    server.put("Nobody/nobody.jpg", faces["nobody"])
    server.wait_for(lambda: len(server.people()) == 3)
    page = visit.open("#/people")
    page.get_by_text("3 people, 1 without usable photos").wait_for()
    page = visit.open("#/settings")
    page.get_by_text("2 people with 3 usable photos").wait_for()


def test_a_long_name_stays_in_its_place_and_the_search_field_is_not_cut(chromium, server, faces):
    name = "Eileen" + "n" * 194
    assert server.enroll(name, faces["collins"]).status_code == 201
    with Visit(chromium, server.url, size={"width": 390, "height": 844}) as visit:
        page = visit.open("#/people")
        listed(page)
        room = """field => {
            const pen = new OffscreenCanvas(1, 1).getContext("2d");
            const style = getComputedStyle(field);
            pen.font = style.font;
            const inside = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
            return inside - pen.measureText(field.placeholder).width;
        }"""
        assert page.get_by_label("Search by name").evaluate(room) >= 24  # the cross that clears it takes room as well
        page = visit.open()
        assert page.get_by_label("Photo URL").evaluate(room) >= 0
        visit.drop("#main", ("collins.jpg", faces["collins"]))
        for place in (".found-name", ".candidates a"):
            shown = page.locator(place, has_text=name).first
            shown.wait_for()
            assert shown.bounding_box()["height"] < 60 and shown.get_attribute("title") == name  # two lines
        page.locator(".candidates a", has_text=name).click()
        page.get_by_role("heading", name=name).wait_for()
        page.get_by_role("button", name="Delete", exact=True).click()
        page.locator(".dialog-foot .danger").wait_for()
        assert visit.overflow() <= 0
        close, dialog = (page.locator(each).bounding_box() for each in (".dialog-head .button", "dialog"))
        assert close["x"] + close["width"] <= dialog["x"] + dialog["width"]
        widths = page.locator("dialog .button").evaluate_all("all => all.map((each) => each.offsetWidth)")
        assert max(widths) < dialog["width"]


def test_a_newcomer_is_told_what_to_do_first(visit, server):
    server.clear()
    page = visit.open("#/people")
    page.get_by_role("heading", name="Nobody is enrolled yet").wait_for()
    page = visit.open()
    page.get_by_text("Nobody is enrolled yet").wait_for()
    page.get_by_role("link", name="Add the first person").click()
    page.get_by_role("heading", name="Nobody is enrolled yet").wait_for()


def test_many_photos_are_dropped_and_each_says_what_became_of_it(visit, server, faces):
    page = visit.open("#/people")
    page.get_by_role("button", name="Add a person").click()
    variants = [pictures.smaller(faces["collins"], side) for side in range(500, 335, -10)]
    photos = [(f"collins-{number}.jpg", photo) for number, photo in enumerate(variants)]
    photos += [("nobody.jpg", faces["nobody"]), ("trio.jpg", faces["trio"]), ("biden.jpg", faces["biden"])]
    assert len(photos) == 20
    visit.drop("dialog .stack", *photos)
    assert page.get_by_role("button", name="Add 20 photos").is_disabled()
    page.get_by_text("Enter a name to continue.").wait_for()
    page.get_by_label("Name", exact=True).fill("Eileen Collins")
    page.get_by_role("button", name="Add 20 photos").click()
    page.get_by_text("17 added, 3 rejected").first.wait_for()
    visit.shoot("added")
    rows = {row.split("\n")[0]: row for row in page.locator(".adding li").all_inner_texts()}
    assert "No face was found" in rows["nobody.jpg"] and "3 faces were found" in rows["trio.jpg"]
    assert "looks like Joe Biden" in rows["biden.jpg"] and "Added" in rows["collins-0.jpg"]
    assert "Duplicate of another photo" in rows["collins-16.jpg"]
    page.get_by_role("button", name="Use the largest face").click()  # Obama's, so that it is refused again, for another reason
    page.locator(".adding li", has_text="trio.jpg").get_by_text("looks like Barack Obama").wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("heading", name="Eileen Collins").wait_for()
    assert server.people()["Eileen Collins"]["photos"] == 17
    assert server.names(faces["trio"]) == ["Barack Obama", "Joe Biden", "Eileen Collins"]


def test_somebody_is_added_from_the_camera(visit, server, faces):
    assert server.request("DELETE", "/people/Joe Biden").status_code == 200
    page = visit.open("#/people")
    page.get_by_role("button", name="Add a person").click()
    page.get_by_label("Name", exact=True).fill("Joseph")
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_text("1 photo taken").wait_for()
    page.get_by_role("button", name="Done").last.click()
    page.get_by_role("button", name="Add 1 photo").click()
    page.get_by_text("1 added").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("heading", name="Joseph").wait_for()
    assert server.names(faces["biden"]) == ["Joseph"]


def test_a_name_that_cannot_be_is_asked_for_again(visit, faces):
    page = visit.open("#/people")
    page.get_by_role("button", name="Add a person").click()
    visit.drop("dialog .stack", ("collins.jpg", faces["collins"]))
    page.get_by_label("Name", exact=True).fill("a/b")
    page.get_by_role("button", name="Add 1 photo").click()
    page.locator(".field-error", has_text=re.compile(r"\w{4}")).wait_for()
    page.get_by_label("Name", exact=True).fill("Eileen")
    page.get_by_role("button", name="Add 1 photo").click()
    page.get_by_text("1 added").first.wait_for()


def test_a_stranger_on_a_photo_becomes_a_person(visit, server, faces):
    page = visit.open()
    visit.drop("#main", ("trio.jpg", faces["trio"]))
    page.get_by_role("button", name="Unknown face").click()
    page.get_by_role("button", name="Add this person").click()
    page.get_by_label("Name", exact=True).fill("Eileen Collins")
    page.get_by_role("button", name="Add 1 photo").click()
    page.get_by_text("1 added").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Eileen Collins, distance").wait_for()
    assert server.names(faces["collins"]) == ["Eileen Collins"]


def test_every_photo_of_a_person_says_how_good_it_is_and_what_is_odd(visit, server, faces):
    assert server.enroll("Barack Obama", faces["biden"], force="true").status_code == 201
    page = visit.open("#/people/Barack%20Obama")
    page.locator(".tag.good").first.wait_for()
    odd = page.locator(".photo", has_text="Looks like Joe Biden")
    assert odd.count() == 1 and page.locator(".photo").count() == 3
    odd.get_by_role("button", name=re.compile("^Open")).click()
    page.locator("dialog .face").wait_for()
    assert page.locator("dialog").get_by_role("link", name="Open Joe Biden").is_visible()
    page.locator("dialog dt", has_text="Sharpness").wait_for()
    page.locator("dialog").get_by_role("button", name="Remove").click()
    page.get_by_text("Barack Obama keeps 2 photos.").wait_for()
    page.get_by_role("button", name="Remove photo").click()
    page.get_by_text("The photo was removed").wait_for()
    page.get_by_text("2 photos", exact=True).wait_for()
    assert server.people()["Barack Obama"]["photos"] == 2


def test_photos_are_added_to_a_person(visit, server, faces):
    page = visit.open("#/people/Joe%20Biden")
    page.get_by_text("Only 1 usable photo").wait_for()
    page.get_by_role("button", name="Add photos").click()
    visit.choose(page.get_by_role("button", name="Choose photos"), ("smaller.jpg", pictures.smaller(faces["biden"], 500)))
    page.get_by_text("1 added").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.locator(".photo").nth(1).wait_for()


def test_renaming_and_merging(visit, server):
    page = visit.open("#/people/Joe%20Biden")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("a/b")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text=re.compile(r"\w{4}")).wait_for()
    page.get_by_label("New name").fill("Joseph Biden")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Joseph Biden").wait_for()
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("Barack Obama")
    page.keyboard.press("Enter")
    page.get_by_text("Barack Obama already exists").wait_for()
    page.get_by_role("button", name="Cancel").last.click()
    page.locator("dialog").nth(1).wait_for(state="detached")
    assert set(server.people()) == {"Joseph Biden", "Barack Obama"}
    visit.escape()
    page.get_by_role("button", name="Merge").click()
    page.get_by_label("Merge into").fill("Somebody")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text="Somebody").wait_for()
    page.get_by_label("Merge into").fill("Barack Obama")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Barack Obama").wait_for()
    assert {name: each["photos"] for name, each in server.people().items()} == {"Barack Obama": 3}


def test_deleting_says_first_what_will_be_erased(visit, server, faces):
    page = visit.open("#/people/Barack%20Obama")
    delete = page.get_by_role("button", name="Delete")
    delete.click()
    said = page.locator("dialog").inner_text()
    assert "2 photos and the folder Barack Obama" in said and "2 templates" in said
    visit.escape()
    assert page.evaluate("document.activeElement.textContent") == "Delete" and "Barack Obama" in server.people()
    delete.click()
    page.get_by_role("button", name="Delete Barack Obama").click()
    page.get_by_text("Barack Obama and 2 photos were deleted").wait_for()
    assert listed(page) == ["Joe Biden"]
    assert set(server.people()) == {"Joe Biden"} and not [file for file in server.files() if "Obama" in file]
    page = visit.open("#/people/Barack%20Obama")
    page.get_by_role("heading", name="Person not found").wait_for()


def test_what_of_the_folder_is_not_used_is_shown_and_put_right(visit, server, faces):
    server.put("Joe Biden/trio.jpg", faces["trio"])
    server.put("Joe Biden/nobody.jpg", faces["nobody"])
    server.put("stray.jpg", faces["collins"])
    server.wait_for(lambda: len(server.get("/people").json()["problems"]) == 3)
    page = visit.open("#/people")
    page.get_by_text("3 files in known_faces are not used").click()
    assert page.locator(".problem-list li").count() == 3
    page.get_by_role("link", name="Fix").first.click()
    refused = page.locator(".photo.refused", has_text="nobody.jpg")
    refused.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove photo").click()
    refused.wait_for(state="detached")
    page.get_by_role("button", name="Use the largest face").click()  # which is Obama's
    page.get_by_text("looks like Barack Obama").first.wait_for()
    assert server.people()["Joe Biden"]["problems"] == 1, "nothing is erased before the other is enrolled"
    assert server.request("DELETE", "/people/Barack Obama").status_code == 200
    page.get_by_role("button", name="Use the largest face").click()
    page.locator(".photo.refused").wait_for(state="detached")
    assert server.people()["Joe Biden"]["photos"] == 2


def test_a_file_that_is_nobodys_gets_a_name_or_is_erased(visit, server, faces):
    hostile = HOSTILE.replace("/", "")
    for file, photo in (("it's #1 (50%).jpg", faces["collins"]), (hostile, faces["trio"]), ("notes.txt", b"hello")):
        server.put(file, photo)
    server.wait_for(lambda: len(server.get("/people").json()["problems"]) == 3)
    page = visit.open("#/people")
    page.get_by_text("3 files in known_faces are not used").click()
    page.get_by_role("button", name="Enrol notes.txt").click()
    page.get_by_role("alert").get_by_text("not a photo").wait_for()
    page.get_by_role("button", name="Enrol it's #1 (50%).jpg").click()
    page.get_by_label("Name", exact=True).fill("Eileen Collins")
    page.get_by_role("button", name="Add 1 photo").click()
    page.get_by_text("1 added").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_text("2 files in known_faces are not used").wait_for()
    assert server.names(faces["collins"]) == ["Eileen Collins"]
    assert sorted(file for file in server.files() if "/" not in file) == [hostile, "notes.txt"]
    # what is refused stays where it was
    page.get_by_role("button", name=f"Enrol {hostile}").click()
    page.get_by_label("Name", exact=True).fill("Three")
    page.get_by_role("button", name="Add 1 photo").click()
    page.get_by_text("1 rejected").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.locator("dialog").wait_for(state="detached")
    assert len([file for file in server.files() if "/" not in file]) == 2
    for file in (hostile, "notes.txt"):
        page.get_by_role("button", name=f"Delete {file}").click()
        page.get_by_role("button", name="Delete file").click()
        page.locator(".problem-list li", has_text=file).wait_for(state="detached")
    assert not [file for file in server.files() if "/" not in file]


def test_a_hostile_name_is_just_a_name(visit, server, faces):
    name = HOSTILE.replace("/", "")
    assert server.enroll(name, faces["collins"]).status_code == 201
    page = visit.open("#/people")
    assert name in listed(page)
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name, exact=True).wait_for()
    page.get_by_role("button", name="Delete").click()
    assert name in page.locator("dialog h2").inner_text()
    visit.escape()
    page.get_by_role("link", name="Try", exact=True).click()
    page.locator(".view-try .drop").wait_for()
    visit.drop("#main", (f"{name}.jpg", faces["collins"]))
    page.locator(".face-name", has_text=name).wait_for()
    page.get_by_role("link", name=name).first.click()
    page.get_by_role("heading", name=name, exact=True).wait_for()
    assert page.locator("img[src=x]").count() == 0  # and no window opened, which the visit would tell


def test_of_many_people_only_those_near_the_window_are_drawn(chromium, tmp_path_factory, faces):
    server = Server(tmp_path_factory.mktemp("web-many"), camera="none", watch="off")
    photo = pictures.smaller(faces["biden"], 400)
    for number in range(MANY):
        server.put(f"Person {number:05}/one.jpg", photo)
    with server, Visit(chromium, server.url) as visit:
        page = visit.open("#/people")
        assert listed(page)[0] == "Person 00000" and page.locator(".cell").count() < 150
        assert page.locator(".cell").first.get_attribute("aria-setsize") == str(MANY)
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.get_by_text(f"Person {MANY - 1:05}").wait_for()
        assert page.locator(".cell").count() < 150
        page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
        page.locator(".person-name", has_text=re.compile(r"Person 007\d\d")).first.wait_for()
        before = page.locator(".cell").first.bounding_box()["width"]
        page.set_viewport_size({"width": 420, "height": 800})
        anew = "before => ![before, undefined].includes(document.querySelector('.cell')?.offsetWidth)"
        page.wait_for_function(anew, arg=round(before))
        page.locator(".person-name").first.wait_for()
        assert visit.overflow() <= 0
        page.get_by_label("Search by name").fill("00321")
        page.get_by_text("1 person matching").first.wait_for()
        assert listed(page) == ["Person 00321"]
