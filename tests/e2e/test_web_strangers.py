"""The view Strangers, in a real browser: who is not known is named, and known in the next frame; joined, split, dismissed."""

from __future__ import annotations

import re

import pytest

from . import pictures
from .browsing import PHONE, Visit
from .serving import Server

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces, stage):
    server = Server(
        tmp_path_factory.mktemp("web-strangers"),
        strangers="all",
        camera="none",
        camera_allow="127.0.0.1",
        event_unknown_seconds=0.5,
        event_left_seconds=8,
        watch="off",
    )
    server.put("Joe Biden/one.jpg", faces["biden"])
    with server:
        server.post("/cameras", data={"source": stage.url(), "name": "Door"})
        yield server


@pytest.fixture
def visit(chromium, server):
    server.wait_for_strangers()  # of the test before, too
    for each in inbox(server):
        server.request("DELETE", f"/strangers/{each['id']}")
    with Visit(chromium, server.url) as visit:
        yield visit


def inbox(server: Server) -> list[dict]:
    return server.get("/strangers").json()["strangers"]


def ask(server: Server, *photos: bytes) -> None:
    """Show photos of people who are not known, one after the other, and wait until all of them are in the inbox."""
    server.wait_for_strangers()
    before = sum(len(each["pictures"]) for each in inbox(server))
    for number, photo in enumerate(photos, 1):
        server.recognize(photo)
        server.wait_for(lambda: sum(len(each["pictures"]) for each in inbox(server)) >= before + number, 30)  # noqa: B023


def box_of(server: Server, photo: bytes) -> dict:
    """Where the face is, without putting it into the inbox as `/recognize` does."""
    (face,) = server.post("/detect", data=photo).json()["faces"]
    return face["box"]


def cards(page):
    return page.locator(".stranger")


def test_a_stranger_of_a_camera_is_named_and_known_in_the_next_frame(visit, server, stage, faces):
    stage.hold(faces["collins"])
    page = visit.open("#/strangers")
    page.get_by_role("heading", name="No strangers").wait_for()
    with Visit(page.context.browser, server.url) as live:
        live.open("#/live")  # which runs the camera
        live.page.locator(".visit", has_text="Unknown person").first.wait_for()
        cards(page).first.wait_for()  # by itself
        assert re.fullmatch(r"Seen once, \d\d:\d\d", cards(page).locator(".stranger-words").inner_text())
        cards(page).get_by_text("At Door").wait_for()
        best = cards(page).locator(".best")
        assert best.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
        visit.shoot("one")
        cards(page).get_by_role("button", name="Name", exact=True).click()
        page.get_by_label("Name", exact=True).fill("Eileen Collins")
        page.get_by_role("button", name="Enrol").click()
        page.get_by_text("Eileen Collins is enrolled with").wait_for()
        page.get_by_role("heading", name="No strangers").wait_for()
        # in the next frames she is known, and her visit has her name
        live.page.locator(".visit", has_text="Eileen Collins").first.wait_for()
        # her first visit has it, too, and is hers when events are filtered
        live.open("#/live")
        live.page.locator(".visit", has_text="Eileen Collins").first.wait_for()
        assert live.page.locator(".visit-name.unknown").count() == 0
    (first,) = server.get("/events?format=json&kind=unknown").json()["events"]
    assert first["subject"] == "Eileen Collins"
    hers = server.get("/events?format=json&subject=Eileen%20Collins").json()["events"]
    kinds = [each["kind"] for each in hers]
    assert kinds[0] == "unknown" and "appeared" in kinds[1:]  # on a busy machine the unnamed visit may end in between
    assert server.names(faces["collins"]) == ["Eileen Collins"]
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("heading", name="Eileen Collins").wait_for()
    stage.hold(None)
    server.wait_for(lambda: not server.get("/health").json()["video"]["running"])  # nobody sees her before the next test
    assert server.request("DELETE", "/people/Eileen Collins").status_code == 200


def test_a_stranger_who_is_enrolled_already_gets_the_name_that_is_suggested(visit, server, faces):
    ask(server, faces["obama2"])
    page = visit.open("#/strangers")
    cards(page).get_by_role("button", name="Name", exact=True).click()
    field = page.get_by_label("Name", exact=True)
    assert page.evaluate("document.activeElement.id") == "stranger-name"
    assert page.get_by_role("button", name="Enrol").is_disabled()
    field.press_sequentially("bid")
    page.locator("#stranger-names option[value='Joe Biden']").wait_for(state="attached")
    field.fill("Barack Obama")
    page.keyboard.press("Enter")
    page.get_by_text("Barack Obama is enrolled with 1 picture").wait_for()
    cards(page).wait_for(state="detached")
    assert server.people()["Barack Obama"]["templates"] == 1
    server.request("DELETE", "/people/Barack Obama")


def test_a_name_that_cannot_be_is_told_and_a_hostile_one_is_only_a_name(visit, server, faces):
    ask(server, faces["obama3"])
    page = visit.open("#/strangers")
    cards(page).get_by_role("button", name="Name", exact=True).click()
    field = page.get_by_label("Name", exact=True)
    field.fill("../passwd")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error:not(:empty)").wait_for()
    field.fill(HOSTILE)
    page.keyboard.press("Enter")
    page.get_by_text(f"{HOSTILE} is enrolled with 1 picture").wait_for()
    assert page.locator("img[src='x']").count() == 0
    server.request("DELETE", f"/people/{HOSTILE}")


def test_strangers_are_joined_and_parted_again(visit, server, faces):
    ask(server, faces["obama2"], faces["collins"])
    page = visit.open("#/strangers")
    page.get_by_text("2 unnamed people").wait_for()
    picks = page.get_by_label("Select this person")
    picks.nth(0).check()
    assert page.get_by_role("button", name="Merge").count() == 0
    picks.nth(1).check()
    page.get_by_text("2 selected").wait_for()
    visit.shoot("chosen")
    page.get_by_role("button", name="Merge").click()
    page.get_by_text("1 unnamed person").wait_for()
    page.locator(".chosen-bar").wait_for(state="hidden")
    assert cards(page).locator(".stranger-words").inner_text().startswith("Seen twice since ")
    cards(page).get_by_role("button", name="Details").click()
    split = page.get_by_role("button", name="Split off pictures")
    assert split.is_disabled()
    pictures = page.locator(".pick-pictures .pick")
    pictures.nth(0).check()
    pictures.nth(1).check()
    assert page.get_by_role("button", name="Split off 2 pictures").is_disabled()  # one has to stay
    pictures.nth(0).uncheck()
    page.get_by_role("button", name="Split off 1 picture").click()
    page.get_by_text("2 unnamed people").wait_for()
    assert len(inbox(server)) == 2


def test_the_picture_of_a_card_shows_the_whole_head(visit, server, faces):
    box = box_of(server, faces["collins"])
    side, photo = box["bottom"] - box["top"], pictures.load(faces["collins"])
    ask(server, pictures.save(photo.crop((0, round(box["top"] - 0.4 * side), photo.width, photo.height))))
    shown = server.get(inbox(server)[0]["thumbnail"]).content
    face = box_of(server, shown)
    page = visit.open("#/strangers")
    best = cards(page).locator(".best")
    best.evaluate("image => image.decode()")
    visit.shoot("card")
    left, top, right, bottom = best.evaluate(
        """image => {
            const scale = Math.max(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
            const [width, height] = [image.clientWidth / scale, image.clientHeight / scale];
            const [x, y] = getComputedStyle(image).objectPosition.split(" ").map((each) => parseFloat(each) / 100);
            const [left, top] = [(image.naturalWidth - width) * x, (image.naturalHeight - height) * y];
            return [left, top, left + width, top + height];
        }"""
    )
    hair = 0.35 * (face["bottom"] - face["top"])
    assert left <= face["left"] and right >= face["right"] and top <= face["top"] - hair and bottom >= face["bottom"]


def test_who_comes_while_somebody_looks_waits_behind_a_button(visit, server, faces):
    ask(server, faces["obama2"])
    page = visit.open("#/strangers")
    cards(page).first.wait_for()
    ask(server, faces["collins"])
    page.get_by_role("button", name="Show 1 new").wait_for()
    assert cards(page).count() == 1  # nothing jumps under the pointer
    page.get_by_role("button", name="Show 1 new").click()
    cards(page).nth(1).wait_for()


@pytest.mark.parametrize(("size", "theme"), [(PHONE, "dark"), ({"width": 1440, "height": 900}, "light")], ids=["phone", "wide"])
def test_nothing_overflows_and_axe_has_no_serious_finding(visit, chromium, server, faces, size, theme):
    ask(server, faces["obama2"], faces["obama3"], faces["collins"])
    with Visit(chromium, server.url, size=size, theme=theme) as seen:
        page = seen.open("#/strangers")
        page.get_by_label("Select this person").first.check()
        assert seen.overflow() <= 0 and seen.barriers() == []
        page.get_by_label("Select this person").first.uncheck()
        cards(page).last.get_by_role("button", name="Details").click()
        page.locator("dialog .pick").first.wait_for()
        assert seen.overflow() <= 0 and seen.barriers() == []
        page.locator("dialog").get_by_role("button", name="Name", exact=True).click()
        page.get_by_label("Name", exact=True).wait_for()
        assert seen.overflow() <= 0 and seen.barriers() == []


def test_while_it_is_off_it_says_how_it_is_switched_on_and_why_it_is_not(chromium, reader):
    with Visit(chromium, reader.url) as visit:
        page = visit.open("#/strangers")
        page.get_by_role("heading", name="Strangers are switched off").wait_for()
        assert page.get_by_text("RECOGNIZER_STRANGERS=cameras").is_visible()
        assert page.get_by_text("never agreed").is_visible()
        assert visit.copied(page.get_by_role("button", name="Copy")) == "RECOGNIZER_STRANGERS=cameras"
        page.get_by_text("Copied").wait_for()
        assert visit.barriers() == []


def test_new_strangers_are_counted_on_every_view_until_they_are_looked_at(visit, server, faces):
    ask(server, faces["obama"])
    before = server.get("/strangers", params={"since": "2090-01-01"}).json()
    assert (before["total"], before["strangers"]) == (0, []) and len(inbox(server)) == 1
    assert server.get("/strangers", params={"since": "soon"}).json()["error"]["code"] == "invalid_parameter"
    page = visit.open("#/people")
    badge = page.locator('.tabs [data-view="strangers"] .badge')
    badge.get_by_text("1").first.wait_for()
    assert badge.inner_text().split() == ["1", "new"] and not visit.barriers()
    visit.shoot("badge")
    page.get_by_role("link", name="Strangers").click()
    page.locator(".strangers li").first.wait_for()
    assert badge.count() == 0
    page = visit.open("#/people")
    with page.expect_response(lambda reply: "/strangers?" in reply.url):
        pass
    assert badge.count() == 0


def test_dismissing_asks_first_and_never_again_says_what_is_kept(visit, server, faces):
    # the last test of this server: whoever it is never asked about again is in no inbox any more
    ask(server, faces["obama2"], faces["collins"])
    page = visit.open("#/strangers")
    cards(page).nth(1).wait_for()
    cards(page).first.get_by_role("button", name="Dismiss").click()
    page.get_by_role("button", name="Cancel").click()
    assert len(inbox(server)) == 2
    cards(page).first.get_by_role("button", name="Dismiss").click()
    page.locator("dialog").get_by_role("button", name="Dismiss").click()
    page.get_by_text("1 unnamed person").wait_for()
    cards(page).get_by_role("button", name="Details").click()
    page.get_by_role("button", name="Never show again").click()
    page.get_by_text("Only face templates are kept").wait_for()
    assert page.get_by_text("RECOGNIZER_STRANGERS_DAYS").is_visible()
    page.locator("dialog").get_by_role("button", name="Never show again").click()
    page.get_by_role("heading", name="No strangers").wait_for()
    assert inbox(server) == []


def test_every_view_says_how_far_the_encoding_is(visit, server):
    def encoding(route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json={**reply.json(), "encoding": {"done": 1200, "total": 5000, "seconds_left": 310}})

    visit.page.route("**/health", encoding)
    for view in ("#/try", "#/settings"):
        page = visit.open(view)
        bar = page.locator(".activity-bar")
        bar.wait_for()
        assert "1,200 of 5,000 photos in known_faces encoded, about 5 min left" in bar.inner_text()
        assert bar.locator("progress").evaluate("bar => bar.value / bar.max") == 0.24
        assert visit.overflow() <= 0
    assert not visit.barriers()
    visit.shoot("encoding")
    visit.page.unroute_all(behavior="wait")  # a reply may just be on its way
    bar.wait_for(state="detached")
