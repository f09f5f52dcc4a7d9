"""The view Live, in a real browser: cameras that move, their states, and who came and went, as it happens."""

from __future__ import annotations

import io
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer.events.event_erasing import Retention
from recognizer.events.event_log import EventLog
from recognizer.video.sources import pattern
from tests.brokers import free_port
from tests.streams import HttpCamera, clip

from .browsing import PHONE, Visit
from .serving import Server

HOSTILE = "<img src=x onerror=alert(1)>"
#: Visits of long ago, two events each: more than two pages of the timeline.
PAST = 70


def write_the_past(folder) -> None:
    """Visits of yesterday noon, as a server that ran then would have left them."""
    log = EventLog(folder / "events", Retention(16_000_000, 30, file_bytes=1_000_000))
    noon = (datetime.now().astimezone() - timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
    begin = noon.astimezone(timezone.utc)  # the page says days as this machine's clock has them
    told = {"camera": "default", "track": 1, "distance": None, "false_match_rate": None, "box": None, "thumbnail": None}
    for number in range(PAST):
        times = [begin + timedelta(minutes=number), begin + timedelta(minutes=number, seconds=30)]
        came, left = (each.isoformat(timespec="milliseconds")[:23] + "Z" for each in times)
        who = "Ada Lovelace" if number == 3 else f"Visitor {number}"
        log.append([{"id": 0, "kind": "appeared", "time": came, "subject": who, "since": came, **told}])
        gone = {"since": came, "seconds": 30.0, "appearance": log.last}
        log.append([{"id": 0, "kind": "left", "time": left, "subject": who, **told, **gone}])
    log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces, stage):
    folder = tmp_path_factory.mktemp("web-live")
    server = Server(
        folder,
        camera="test:320x180@10",
        camera_allow="127.0.0.1",
        event_left_seconds=4,
        event_shown_seconds=0.3,
        watch="off",
        camera_files=folder,
    )
    server.put("Barack Obama/one.jpg", faces["obama"])
    write_the_past(server.state)
    with server:
        server.post("/cameras", data={"source": stage.url(), "name": "Door"})
        yield server


def test_a_removed_camera_keeps_its_name_in_the_timeline(visit, server):
    server.post("/cameras", data={"source": "test:320x180@5", "name": "Back yard"})
    page = visit.open("#/live/back-yard")  # which runs it
    page.locator(".visit.of-camera", has_text="Back yard is live").first.wait_for()
    assert server.request("DELETE", "/cameras/back-yard").status_code == 200
    page = visit.open("#/live")
    page.locator(".visit.of-camera", has_text="Back yard is live").first.wait_for()
    assert page.get_by_text("back-yard").count() == 0


@pytest.mark.skipif(Path("/dev/video0").exists(), reason="this machine has a webcam")
def test_an_installation_without_a_webcam_begins_with_adding_a_camera(chromium, writer):
    with Visit(chromium, writer.url) as visit:
        page = visit.open("#/live")
        page.get_by_role("heading", name="No cameras yet").wait_for()
        assert page.locator(".watch").count() == 0
        writer.post("/cameras", data={"source": "test:320x180@5", "name": "Back yard"})
        page.locator(".watch", has_text="Back yard").wait_for()
        assert page.locator(".watch").count() == 1
    writer.request("DELETE", "/cameras/back-yard")


def viewers(server: Server) -> int:
    return server.get("/health").json()["video"]["viewers"]


def pixels(image) -> np.ndarray | None:
    """What an image shows now, of its own size; None before its first picture."""
    if not image.evaluate("image => image.naturalWidth"):
        return None
    data = image.evaluate(
        "image => { const sheet = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);"
        " sheet.getContext('2d').drawImage(image, 0, 0);"
        " return sheet.convertToBlob().then((blob) => blob.bytes()).then((bytes) => Array.from(bytes)); }"
    )
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB"))


def wait_for_more(page, name: str, before: int, seconds: float = 60) -> None:
    """Until there are more visits of somebody than before."""
    script = """([name, before]) => {
        const visits = [...document.querySelectorAll(".visit")];
        return visits.filter((each) => each.textContent.includes(name)).length > before;
    }"""
    page.wait_for_function(script, arg=[name, before], timeout=seconds * 1000)


def wait_until_nobody_is_there(page) -> None:
    """Until the timeline is shown and holds no visit that goes on."""
    page.locator(".visit").first.wait_for()
    page.wait_for_function("() => !document.querySelector('.visit .tag')")


def hide(page, hidden: bool) -> None:
    """What the browser tells a page whose tab is put behind another, or comes back."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def card(page, name: str):
    return page.locator(".watch", has=page.get_by_role("heading", name=name, exact=True))


def test_every_camera_moves_and_says_that_it_is_live(visit, server):
    page = visit.open("#/live")
    card(page, "Camera").get_by_text("Live", exact=True).wait_for()
    card(page, "Door").get_by_text("Live", exact=True).wait_for()
    page.get_by_text("2 cameras, 2 live").wait_for()
    seen, until = [], time.monotonic() + 60
    while len(seen) < 3:
        assert time.monotonic() < until, f"the picture does not move: {seen}"
        shown = pixels(card(page, "Camera").locator("img"))
        read = None if shown is None else pattern.read(shown)
        if read and read[0] not in seen:
            seen.append(read[0])
    assert seen == sorted(seen)
    assert card(page, "Door").locator("img").get_attribute("alt") == "View from Door"


def test_a_recording_that_is_over_says_so_and_is_played_again_for_whoever_comes_later(visit, server):
    clip(server.folder / "clip.mp4", 10, rate=10)
    added = server.post("/cameras", data={"source": "once:clip.mp4", "name": "Film"})
    assert added.status_code == 201 and added.json()["source"] == "clip.mp4"
    film = added.json()["id"]
    try:
        page = visit.open(f"#/live/{film}")
        page.locator(".watch-state", has_text="Ended").wait_for()
        page.locator(".visit", has_text="Film has ended").first.wait_for()
        visit.open("#/people")
        server.wait_for(lambda: server.get(f"/cameras/{film}").json()["state"]["name"] == "idle")
        page = visit.open(f"#/live/{film}")
        page.locator(".watch-state", has_text="Ended").wait_for()
        assert server.get(f"/cameras/{film}").json()["frames"]["connects"] == 2
    finally:
        server.request("DELETE", f"/cameras/{film}")


def test_streams_end_with_the_view_and_with_the_tab(visit, server):
    page = visit.open("#/live")
    server.wait_for(lambda: viewers(server) == 2)
    hide(page, True)
    server.wait_for(lambda: viewers(server) == 0)
    assert page.locator(".watch img[src]").count() == 0
    hide(page, False)
    server.wait_for(lambda: viewers(server) == 2)
    page.get_by_role("link", name="People", exact=True).click()
    page.get_by_role("heading", name="People").wait_for()
    server.wait_for(lambda: viewers(server) == 0)


def test_a_camera_that_is_scrolled_away_does_not_stream(chromium, server):
    with Visit(chromium, server.url, size={"width": 360, "height": 420}) as visit:
        page = visit.open("#/live")
        server.wait_for(lambda: viewers(server) == 1)
        page.locator(".visit", has_text="Visitor 69").wait_for()  # else there is nothing yet to scroll to
        card(page, "Door").scroll_into_view_if_needed()
        page.locator(".live-timeline").scroll_into_view_if_needed()
        page.mouse.wheel(0, 4000)
        server.wait_for(lambda: viewers(server) == 0)


def test_what_is_drawn_is_switched_and_remembered(visit, server, stage, faces):
    stage.hold(faces["obama2"])
    page = visit.open("#/live/door")
    page.locator(".watch img[src*='overlay=faces']").wait_for()
    page.get_by_role("switch", name="Time").check()
    page.locator(".watch img[src*='overlay=faces%2Cclock']").wait_for()
    page.get_by_role("switch", name="Names").uncheck()
    page.get_by_role("switch", name="Time").uncheck()
    page.locator(".watch img[src*='overlay=none']").wait_for()
    server.wait_for(lambda: viewers(server) == 1)
    page.reload()
    page.locator(".watch img[src*='overlay=none']").wait_for()
    assert not page.get_by_role("switch", name="Names").is_checked()
    page.get_by_role("switch", name="Names").check()
    stage.hold(None)


def come(visit, stage, photo: bytes, name: str):
    """Show somebody to the camera, and wait for the visit; the page, and how many visits of theirs it had before."""
    stage.hold(None)
    page = visit.open("#/live")
    page.locator(".pulse", has_text="Live").wait_for()
    card(page, "Door").get_by_text("Live", exact=True).wait_for()
    wait_until_nobody_is_there(page)
    before = page.locator(".visit", has_text=name).count()
    stage.hold(photo)
    wait_for_more(page, name, before)
    return page, before


def test_who_comes_is_told_as_it_happens_and_that_they_went(visit, server, stage, faces):
    page, before = come(visit, stage, faces["obama2"], "Barack Obama")
    newest = page.locator(".visit", has_text="Barack Obama").first
    newest.get_by_text("Here now").wait_for()
    assert newest.get_by_text("Door").is_visible()
    assert newest.get_by_role("link", name="Barack Obama").get_attribute("href") == "#/people/Barack%20Obama"
    face = newest.locator("img.crop")
    assert face.evaluate("image => image.decode().then(() => image.naturalWidth)") > 20
    visit.shoot("here")
    stage.hold(None)
    newest.get_by_text("for ").wait_for()
    assert page.locator(".visit", has_text="Barack Obama").count() == before + 1  # coming and going are one visit


def test_a_visit_says_in_which_zones_it_was(visit, server, stage, faces):
    zones = [{"name": "Entrance", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}]
    assert server.request("PUT", "/cameras/door/settings", json={"zones": zones}).status_code == 200
    try:
        page, _ = come(visit, stage, faces["obama2"], "Barack Obama")
        page.locator(".visit", has_text="Barack Obama").first.get_by_text("Door · Entrance").wait_for()
        newest = server.get("/events?format=json&kind=appeared&limit=1").json()["events"][-1]
        assert newest["zones"] == ["Entrance"]
        page.get_by_label("Filter by zone").select_option("Entrance")
        page.locator(".visit", has_text="Barack Obama").get_by_text("Door · Entrance").wait_for()
        page.wait_for_function("document.querySelectorAll('.visit').length === 1")
    finally:
        stage.hold(None)
        server.request("PUT", "/cameras/door/settings", json={})


def test_the_stream_of_events_goes_on_where_it_was_after_the_tab_was_hidden(visit, server, stage, faces):
    stage.hold(None)
    page = visit.open("#/live")
    page.locator(".pulse", has_text="Live").wait_for()
    wait_until_nobody_is_there(page)
    before = page.locator(".visit", has_text="Barack Obama").count()
    hide(page, True)
    server.wait_for(lambda: viewers(server) == 0)
    with Visit(page.context.browser, server.url) as other:
        other.open("#/live/door").locator(".pulse", has_text="Live").wait_for()
        stage.hold(faces["obama2"])
        other.page.locator(".visit", has_text="Here now").first.wait_for()
        stage.hold(None)
        other.page.locator(".visit", has_text="Here now").first.wait_for(state="detached")
    assert page.locator(".visit", has_text="Barack Obama").count() == before
    hide(page, False)
    wait_for_more(page, "Barack Obama", before)


def test_older_visits_come_page_by_page_under_their_days(visit):
    page = visit.open("#/live")
    page.locator(".visit", has_text="Visitor 69").wait_for()
    assert page.get_by_role("heading", name="Yesterday").is_visible()
    assert page.locator(".visit", has_text="Visitor 0").count() == 0
    while page.locator(".visit", has_text="Visitor 0").count() == 0:
        count = page.locator(".visit").count()
        page.get_by_role("button", name="Show earlier visits").click()
        page.wait_for_function("count => document.querySelectorAll('.visit').length > count", arg=count)
    page.get_by_text("No earlier visits").wait_for()
    shown = page.locator(".visit-name", has_text="Visitor").all_inner_texts()
    assert shown == [f"Visitor {n}" for n in reversed(range(PAST)) if n != 3]
    assert page.locator(".visit", has_text="Visitor 5").last.get_by_text("for 30 s").is_visible()


def test_visits_of_one_person_or_one_camera(visit):
    page = visit.open("#/live")
    page.locator(".visit").first.wait_for()
    person = page.get_by_label("Filter by person")
    person.fill("Ada Lovelace")
    person.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.visit').length === 1")
    assert page.locator(".visit-name").inner_text() == "Ada Lovelace"
    person.fill("Grace Hopper")
    person.press("Enter")
    page.get_by_role("heading", name="No visits found").wait_for()
    person.fill("")
    page.locator(".visit", has_text="Visitor 69").wait_for()
    page.get_by_label("Filter by camera").select_option("Door")
    page.locator(".visit", has_text="Visitor 69").wait_for(state="detached")
    assert {each.split(" · ")[0] for each in page.locator(".visit-who .small").all_inner_texts()} <= {"Door"}


def test_cameras_are_added_changed_and_removed_with_errors_in_words(visit, server):
    page = visit.open("#/live")
    page.get_by_role("button", name="Add a camera").click()
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("Enter a source.").wait_for()
    page.get_by_label("Source", exact=True).fill("ftp://example.org/")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#camera-source-error", has_text="rtsp").wait_for()
    page.get_by_label("Source", exact=True).fill("rtsp://8.8.8.8/main")
    page.keyboard.press("Enter")
    refused = page.locator("#camera-source-error", has_text="RECOGNIZER_CAMERA_ALLOW")
    refused.wait_for()
    assert refused.inner_text().count("RECOGNIZER_CAMERA_ALLOW") == 1
    page.get_by_label("Source", exact=True).fill("192.168.1.20")
    page.keyboard.press("Enter")
    page.locator("#camera-source-error", has_text="rtsp://192.168.1.20/stream").wait_for()
    page.get_by_label("Type", exact=True).select_option("Test pattern")
    page.get_by_label("Name", exact=True).fill("Door")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#camera-name-error", has_text="another camera").wait_for()
    page.get_by_label("Name", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Add", exact=True).click()
    added = card(page, HOSTILE)
    added.get_by_text("Live", exact=True).wait_for()
    assert page.locator("img[src='x']").count() == 0
    visit.shoot("three")
    page.get_by_role("button", name=f"Edit {HOSTILE}").click()
    assert page.get_by_label("Source", exact=True).get_attribute("placeholder") == "test:"
    page.get_by_label("Name", exact=True).fill("Pattern")
    page.get_by_role("switch", name="Keep running").check()
    page.get_by_role("button", name="Save", exact=True).click()
    card(page, "Pattern").get_by_text("always on").wait_for()
    assert server.get("/cameras").json()["cameras"][-1]["always"] is True
    page.get_by_role("button", name="Remove Pattern").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    card(page, "Pattern").wait_for(state="detached")
    assert [each["name"] for each in server.get("/cameras").json()["cameras"]] == ["Camera", "Door"]


def test_a_lost_camera_says_since_when_and_why(visit, server):
    lost = server.post("/cameras", data={"source": f"http://127.0.0.1:{free_port()}/x", "name": "Garden"}).json()["id"]
    try:
        page = visit.open(f"#/live/{lost}")
        page.get_by_role("heading", name="Garden", level=1).wait_for()
        page.locator(".watch-state", has_text="Disconnected since").wait_for()
        page.locator(".watch-why", has_text="no connection").wait_for()
        page.locator(".visit", has_text="Garden is disconnected").first.wait_for()
        assert page.get_by_role("link", name="All cameras").is_visible()
        said = page.locator(".view-head p").inner_text()  # of this camera alone, not how many there are
        assert said.startswith("Disconnected since") and "cameras" not in said
    finally:
        server.request("DELETE", f"/cameras/{lost}")
    page.get_by_role("heading", name="Camera not found").wait_for()


def test_a_camera_that_stands_still_says_since_when_and_comes_back(visit, server):
    with HttpCamera() as still:
        frozen = server.post("/cameras", data={"source": still.url(), "name": "Attic"}).json()["id"]
        try:
            page = visit.open(f"#/live/{frozen}")
            card(page, "Attic").get_by_text("Live", exact=True).wait_for()
            still.frozen = True
            page.locator(".watch-state.warn", has_text="Frozen since").wait_for()
            page.locator(".watch-why", has_text="No new picture since").wait_for()
            page.locator(".visit", has_text="Attic is frozen").first.wait_for()
            visit.shoot("frozen")
            still.frozen = False
            card(page, "Attic").get_by_text("Live", exact=True).wait_for()
            page.locator(".watch-why").wait_for(state="hidden")
        finally:
            server.request("DELETE", f"/cameras/{frozen}")


def test_a_server_that_is_gone_is_told_and_streams_begin_anew(visit, server):
    page = visit.open("#/live")
    card(page, "Camera").get_by_text("Live", exact=True).wait_for()
    page.route("**/cameras", lambda route: route.abort())
    card(page, "Camera").locator(".watch-state", has_text="The server is not responding").wait_for()
    page.unroute("**/cameras")
    card(page, "Camera").get_by_text("Live", exact=True).wait_for()
    server.wait_for(lambda: viewers(server) == 2)
    visit.said = [each for each in visit.said if "ERR_FAILED" not in each]


@pytest.mark.parametrize(("size", "theme"), [(PHONE, "dark"), ({"width": 1440, "height": 900}, "light")], ids=["phone", "wide"])
def test_nothing_overflows_and_axe_has_no_serious_finding(chromium, server, size, theme):
    with Visit(chromium, server.url, size=size, theme=theme) as visit:
        page = visit.open("#/live")
        page.locator(".visit").first.wait_for()
        card(page, "Camera").get_by_text("Live", exact=True).wait_for()
        assert visit.overflow() <= 0
        assert visit.barriers() == []
        page.get_by_role("button", name="Add a camera").click()
        page.get_by_label("Type", exact=True).wait_for()
        assert visit.overflow() <= 0
        assert visit.barriers() == []


def test_without_cameras_it_says_what_to_do_first(chromium, tmp_path):
    with Server(tmp_path, camera="none", events="off") as server, Visit(chromium, server.url) as visit:
        page = visit.open("#/live")
        page.get_by_role("heading", name="No cameras yet").wait_for()
        assert page.get_by_label("Filter by camera").locator("option").all_inner_texts() == ["All cameras"]
        page.get_by_text("RECOGNIZER_EVENTS is off").wait_for()
        page.get_by_role("button", name="Add a camera").first.click()
        page.get_by_label("Type", exact=True).select_option("Test pattern")
        page.get_by_role("button", name="Add", exact=True).click()
        card(page, "Camera 1").get_by_text("Live", exact=True).wait_for()
