"""Adding photos on the page, in a real browser: no photo is lost silently, and what is not taken is reported."""

from __future__ import annotations

import re

import pytest

from . import pictures
from .browsing import Gate, Visit

NAME = "Eileen Collins"


@pytest.fixture
def server(without_camera, faces):
    """Joe Biden with one photo."""
    without_camera.enrol_only({"Joe Biden": [faces["biden"]]})
    return without_camera


@pytest.fixture
def six(faces) -> list[tuple[str, bytes]]:
    return [(f"collins-{side}.jpg", pictures.smaller(faces["collins"], side)) for side in range(450, 510, 10)]


def begin(visit, photos, address="#/people"):
    """Choose `photos` of a new person, up to the name."""
    page = visit.open(address)
    page.get_by_role("button", name="Add a person").click()
    visit.drop("dialog .stack", *photos)
    page.get_by_label("Name", exact=True).fill(NAME)
    return page


def test_the_enter_that_starts_the_upload_closes_nothing(visit, server, six):
    page = begin(visit, six)
    page.get_by_label("Name", exact=True).press("Enter")
    page.get_by_text("6 added").first.wait_for()
    assert page.locator("dialog").count() == 1 and server.people()[NAME]["photos"] == 6
    page.keyboard.press("Enter")  # on "Done", which has the focus
    page.get_by_role("heading", name=NAME).wait_for()


def test_the_enter_that_starts_the_upload_of_a_face_closes_nothing(visit, server, faces):
    page = visit.open()
    visit.drop("#main", ("collins.jpg", faces["collins"]))
    page.get_by_role("button", name="Add this person").click()
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("Name", exact=True).press("Enter")
    page.get_by_text("1 added").first.wait_for()
    assert page.locator("dialog").count() == 1
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name=f"{NAME}, distance").wait_for()


@pytest.mark.parametrize("how", ["Escape", "Close", "Continue in background"])
def test_an_upload_goes_on_when_its_dialog_is_closed(visit, server, six, how):
    page = begin(visit, six)
    gate = Gate(page)
    page.get_by_role("button", name="Add 6 photos").click()
    gate.wait(2)
    if how == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name=how).click()
    page.locator("dialog").wait_for(state="detached")
    page.get_by_text(f"Adding photos of {NAME}: 0 of 6 done").wait_for()
    visit.shoot("background")
    page.get_by_role("link", name="Live").click()  # the upload does not depend on the view
    page.get_by_role("heading", name="Live").wait_for()
    gate.open()
    page.get_by_text(f"{NAME}: 6 added").wait_for()
    assert server.people()[NAME]["photos"] == 6
    page.get_by_text("Adding photos of").wait_for(state="detached")


def test_what_was_rejected_in_the_background_is_shown_again(visit, server, faces, six):
    page = begin(visit, [*six[:2], ("nobody.jpg", faces["nobody"])])
    gate = Gate(page)
    page.get_by_role("button", name="Add 3 photos").click()
    gate.wait(2)
    visit.escape()
    gate.open()
    page.get_by_text(f"{NAME}: 2 added, 1 rejected").wait_for()
    page.locator(".person", has_text=NAME).get_by_text("2 photos").wait_for()  # the list is up to date
    page.get_by_role("button", name="Show", exact=True).click()
    page.locator("dialog .adding li", has_text="nobody.jpg").get_by_text("No face was found").wait_for()
    page.get_by_role("button", name="Done").click()


def test_the_largest_face_is_used_on_all_photos_of_several_people(visit, server, faces):
    pair = pictures.side_by_side([faces["collins"], faces["collins"]])
    page = begin(visit, [("one.jpg", pair), ("two.jpg", pictures.smaller(pair, 900))])
    page.get_by_role("button", name="Add 2 photos").click()
    page.get_by_role("button", name="Choose the face on two.jpg").wait_for()
    page.get_by_role("button", name="Use the largest face in all 2").click()
    page.get_by_text("2 added").first.wait_for()
    assert server.people()[NAME]["problems"] == 0


def test_a_dialog_that_is_opened_again_shows_the_upload(visit, server, six):
    page = begin(visit, six)
    gate = Gate(page)
    page.get_by_role("button", name="Add 6 photos").click()
    gate.wait(2)
    visit.escape()
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("button", name="Continue in background").wait_for()
    assert page.locator(".toast").count() == 0
    visit.escape()
    page.get_by_text(f"Adding photos of {NAME}").wait_for()
    gate.open()
    page.get_by_text(f"{NAME}: 6 added").wait_for()


def test_a_name_that_is_refused_in_the_background_is_asked_for_again(visit, server, six):
    page = begin(visit, six[:1])
    page.get_by_label("Name", exact=True).fill("a/b")
    gate = Gate(page)
    page.get_by_role("button", name="Add 1 photo").click()
    gate.wait(1)
    visit.escape()
    gate.open()
    page.get_by_text("No photo of a/b was added.").wait_for()
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_role("button", name="Add 1 photo").click()
    page.get_by_text("1 added").first.wait_for()
    assert server.people()[NAME]["photos"] == 1


def settle(page) -> None:
    """Let what was asked for happen: the browser reports later that a dialog closed."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")


@pytest.mark.parametrize("how", ["Escape", "Close"])
def test_photos_that_were_not_sent_are_discarded_only_after_a_question(visit, server, six, how):
    page = begin(visit, six[:3])

    def dismiss():
        if how == "Escape":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Close", exact=True).first.click()
        page.get_by_role("heading", name="Discard 3 photos?").wait_for()

    for _ in range(3):  # browsers let a dialog refuse a first Escape only
        dismiss()
        page.get_by_role("button", name="Cancel").click()
        page.locator("dialog").nth(1).wait_for(state="detached")
        assert page.locator("dialog .adding li").count() == 3
    visit.shoot("kept")
    dismiss()
    page.get_by_role("button", name="Discard 3 photos").click()
    page.locator("dialog").first.wait_for(state="detached")
    assert NAME not in server.people()


def test_the_question_survives_escape_pressed_many_times(visit, server, six):
    page = begin(visit, six[:3])
    for _ in range(7):
        page.keyboard.press("Escape")
        settle(page)
    while page.locator("dialog").count() > 1:
        page.get_by_role("button", name="Cancel").click()
        settle(page)
    assert page.locator("dialog[open] .adding li").count() == 3


def test_the_question_is_never_below_the_dialog_that_it_is_about(visit, server, six):
    page = begin(visit, six[:3])
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Discard 3 photos?").wait_for()
    # what browsers do without asking, for dialogs that opened one after the other
    page.evaluate("document.querySelector('dialog.wide').close()")
    settle(page)
    page.get_by_role("button", name="Cancel").click()
    page.locator("dialog").nth(1).wait_for(state="detached")
    assert page.locator("dialog[open] .adding li").count() == 3
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('dialog.wide').close()")
    page.get_by_role("button", name="Discard 3 photos").click()
    page.locator("dialog").first.wait_for(state="detached")
    assert NAME not in server.people()


def test_closing_the_tab_during_an_upload_is_asked_about(chromium, server, six):
    asked = []
    with Visit(chromium, server.url) as visit:
        page = begin(visit, six)
        page.remove_listener("dialog", visit.refuse_window)
        page.on("dialog", lambda window: (asked.append(window.type), window.dismiss()))
        gate = Gate(page)
        page.get_by_role("button", name="Add 6 photos").click()
        gate.wait(2)
        visit.escape()
        page.close(run_before_unload=True)
        while not asked:
            visit.context.pages[0].wait_for_timeout(20)
        assert asked == ["beforeunload"]
        gate.open()
        page.get_by_text(f"{NAME}: 6 added").wait_for()


# -- dropped and pasted files ---------------------------------------------------------------------------------------------


def test_photos_dropped_on_the_list_of_people_are_added(visit, server, six):
    page = visit.open("#/people")
    page.locator(".person").first.wait_for()
    visit.drop("#main", *six[:2])
    page.get_by_text("Enter a name to continue.").wait_for()
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_role("button", name="Add 2 photos").click()
    page.get_by_text("2 added").first.wait_for()
    visit.paste(six[2])  # goes into the open dialog
    page.get_by_text("3 added").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("heading", name=NAME).wait_for()
    visit.drop("#main", six[3])  # on the view of this person
    page.get_by_text("1 added").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.locator(".photo").nth(3).wait_for()
    assert server.people()[NAME]["photos"] == 4


@pytest.mark.parametrize("view", ["#/try", "#/people/Joe%20Biden", "#/live", "#/settings", "dialog"])
def test_what_is_no_photo_is_named_wherever_it_is_dropped(visit, server, tmp_path, view):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "photos.zip").write_bytes(b"PK\5\6" + bytes(18))
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "one.jpg").write_bytes(b"")
    page = visit.open(view if view != "dialog" else "#/people")
    if view == "dialog":
        page.get_by_role("button", name="Add a person").click()
    place = "dialog" if view == "dialog" else "#main"
    visit.drop_paths(place, tmp_path / "notes.txt", tmp_path / "photos.zip", tmp_path / "holiday")
    said = page.locator(".toast", has_text="notes.txt and 1 other file are not photos")
    said.wait_for()
    page.locator(".toast", has_text=re.compile("holiday was not added: drop folders on People")).wait_for()
    visit.shoot("refused")
    said.get_by_role("button", name="Close message").click()  # it is not behind the dialog
    said.wait_for(state="detached")
    assert page.locator("dialog").count() == (1 if view == "dialog" else 0)


def test_photos_dropped_where_none_are_taken_are_reported(visit, server, faces, tmp_path):
    (tmp_path / "collins.jpg").write_bytes(faces["collins"])
    page = visit.open("#/settings")
    visit.drop_paths("#main", tmp_path / "collins.jpg")
    page.get_by_text("photos can be dropped on Try and on People").wait_for()


# -- back in the browser --------------------------------------------------------------------------------------------------


def test_back_after_a_result_stays_on_the_page(visit, server, faces):
    page = visit.open()
    visit.drop("#main", ("biden.jpg", faces["biden"]))
    page.get_by_role("button", name="Joe Biden, distance").wait_for()
    page.go_back()
    page.get_by_text("Drop a photo here").wait_for()
    page.go_forward()
    page.get_by_role("button", name="Joe Biden, distance").wait_for()
    visit.drop("#main", ("collins.jpg", faces["collins"]))
    page.get_by_role("button", name="Unknown face").wait_for()
    page.locator(".candidates a").first.click()
    page.get_by_role("heading", name="Joe Biden").wait_for()
    page.go_back()  # to the photo that was shown last
    page.get_by_role("button", name="Unknown face").wait_for()
    page.go_back()  # and to the one before
    page.get_by_role("button", name="Joe Biden, distance").wait_for()
    page.go_forward()
    page.get_by_role("button", name="Unknown face").wait_for()
    page.reload()  # the photos of this tab are kept
    page.get_by_role("button", name="Unknown face").wait_for()
    assert page.locator(".tried-photo").count() == 2
    page.get_by_role("button", name="Forget all").click()
    page.get_by_text("Drop a photo here").wait_for()
    page.reload()
    page.get_by_text("Drop a photo here").wait_for()
    assert page.locator(".tried-photo").count() == 0
