"""The wall of cameras in a real browser: sixteen over one connection, full screen, pictures, and the settings of one camera."""

from __future__ import annotations

import pytest

from recognizer.video.sources import pattern

from .browsing import DESKTOP, PHONE, Visit
from .serving import Server
from .test_web_live import card, pixels, viewers

CAMERAS = 16


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("web-wall"), camera="test:160x96@3", watch="off") as server:
        for number in range(2, CAMERAS + 1):
            server.post("/cameras", data={"source": "test:160x96@3", "name": f"Camera {number}"})
        yield server


def settings(server: Server, camera: str = "camera-2") -> dict:
    return server.get(f"/cameras/{camera}/settings").json()


def open_settings(page, name: str = "Camera 2"):
    """The dialog of a camera, with its picture."""
    page.get_by_role("button", name=f"Zones and settings of {name}", exact=True).click()
    page.locator(".area-sheet > img:not([hidden])").wait_for()
    return page.locator("dialog")


def click_at(page, x: float, y: float) -> None:
    box = page.locator(".area-sheet").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def near(points: list, wanted: list) -> bool:
    return len(points) == len(wanted) and all(
        abs(x - u) < 0.02 and abs(y - v) < 0.02 for (x, y), (u, v) in zip(points, wanted, strict=True)
    )


def test_sixteen_cameras_move_over_one_connection_and_other_requests_are_answered(chromium, server):
    with Visit(chromium, server.url, size={"width": 1440, "height": 2200}) as visit:
        asked = []
        visit.page.on("request", lambda request: asked.append(request.url))
        page = visit.open("#/live")
        page.wait_for_function("count => document.querySelectorAll('.watch img[src^=\"blob:\"]').length === count", arg=CAMERAS)
        page.get_by_text("16 cameras, 16 live").wait_for()
        server.wait_for(lambda: viewers(server) == CAMERAS)
        sources = "() => [...document.querySelectorAll('.watch img')].map((image) => image.src)"
        before = page.evaluate(sources)
        page.wait_for_function(f"before => ({sources})().every((each, place) => each !== before[place])", arg=before)
        last = card(page, "Camera 16").locator("img")
        page.wait_for_function("() => document.querySelectorAll('.watch img')[15].naturalWidth > 100")
        server.wait_for(lambda: (shown := pixels(last)) is not None and pattern.read(shown))
        assert not any("/stream" in each for each in asked)
        assert len([each for each in asked if "/wall?" in each]) == 1
        page.get_by_role("switch", name="Time").check()
        server.wait_for(lambda: any("/wall?" in each and "clock" in each for each in asked))
        page.get_by_role("switch", name="Time").uncheck()
        card(page, "Camera 16").get_by_role("button", name="Open this camera").click()
        page.locator(".watch img[src*='/cameras/camera-16/stream']").wait_for()
        server.wait_for(lambda: viewers(server) == 1)


def test_full_screen_and_a_picture_of_one_camera(chromium, server):
    with Visit(chromium, server.url) as visit:
        page = visit.open("#/live/camera-2")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save a picture of Camera 2").click()
        assert download.value.suggested_filename.startswith("camera-2-") and download.value.suggested_filename.endswith(".jpg")
        page.get_by_text("The picture was saved").wait_for()
        page.get_by_role("button", name="Full screen: Camera 2").click()
        page.wait_for_function("() => document.fullscreenElement?.classList.contains('watch')")
        page.get_by_role("button", name="Full screen: Camera 2").click()
        page.wait_for_function("() => !document.fullscreenElement")
        page = visit.open("#/live")
        page.get_by_role("button", name="Full screen", exact=True).click()
        page.wait_for_function("() => document.fullscreenElement?.classList.contains('wall')")
        visit.shoot("full")
        page.evaluate("document.exitFullscreen()")
        page.wait_for_function("() => !document.fullscreenElement")


def test_a_zone_is_drawn_with_the_mouse_and_a_mask_with_the_keyboard(chromium, server):
    with Visit(chromium, server.url) as visit:
        page = visit.open("#/live/camera-2")
        dialog = open_settings(page)
        dialog.get_by_role("button", name="Draw a zone").click()
        assert dialog.get_by_role("button", name="Finish the area").is_disabled()
        for point in ((0.1, 0.2), (0.6, 0.2), (0.6, 0.8), (0.1, 0.8), (0.105, 0.205)):
            click_at(page, *point)
        dialog.get_by_label("Name of Zone 1").fill("Entrance")
        dialog.get_by_role("button", name="Draw a mask").focus()
        page.keyboard.press("Enter")
        for key in ("Enter", "Shift+ArrowRight", "Shift+ArrowRight", "Enter", "Shift+ArrowUp", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Enter")
        page.keyboard.press("Backspace")
        dialog.get_by_role("button", name="Finish the area").click()
        visit.shoot("drawn")
        dialog.get_by_role("button", name="Corner 3 of Entrance").focus()
        page.keyboard.press("Shift+ArrowDown")
        dialog.get_by_role("button", name="Save").click()
        page.get_by_text("The settings of Camera 2 were saved").wait_for()
        kept = settings(server)
        (zone,), (mask,) = kept["zones"], kept["masks"]
        assert zone["name"] == "Entrance" and near(zone["points"], [(0.1, 0.2), (0.6, 0.2), (0.6, 0.85), (0.1, 0.8)])
        assert mask["points"] == [[0.5, 0.5], [0.6, 0.5], [0.6, 0.44]]
        dialog = open_settings(page)
        box = dialog.get_by_role("button", name="Corner 1 of Mask 1").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        sheet = page.locator(".area-sheet").bounding_box()
        page.mouse.move(sheet["x"] + 0.3 * sheet["width"], sheet["y"] + 0.4 * sheet["height"], steps=3)
        page.mouse.up()
        dialog.get_by_role("button", name="Remove Entrance").click()
        dialog.get_by_role("button", name="Save").click()
        page.locator("dialog").wait_for(state="detached")
        kept = settings(server)
        assert kept["zones"] == [] and near(kept["masks"][0]["points"], [(0.3, 0.4), (0.6, 0.5), (0.6, 0.44)])


def test_hours_and_limits_are_set_and_changes_are_not_lost_by_accident(chromium, server):
    server.request("PUT", "/cameras/camera-3/settings", json={})
    with Visit(chromium, server.url) as visit:
        page = visit.open("#/live/camera-3")
        dialog = open_settings(page, "Camera 3")
        visit.escape()
        dialog = open_settings(page, "Camera 3")
        dialog.get_by_role("button", name="Draw a zone").click()
        page.keyboard.press("Escape")  # ends the drawing, not the dialog
        dialog.get_by_role("button", name="Draw a zone").wait_for()
        dialog.get_by_role("button", name="Add hours").click()
        dialog.get_by_role("checkbox", name="Monday").uncheck()
        dialog.get_by_role("checkbox", name="Sunday").check()
        dialog.get_by_label("Ends at").fill("07:30")
        dialog.get_by_role("switch", name="This camera gives events about people").uncheck()
        dialog.get_by_label("Smallest face, in pixels").fill("4")
        dialog.get_by_label("Strangers who get a name").select_option("1 in 1,000")
        dialog.get_by_label("Lowest quality of unknown people").fill("0.25")
        dialog.get_by_role("button", name="Save").click()
        dialog.locator(".field-error", has_text="Min_face").wait_for()
        dialog.get_by_label("Smallest face, in pixels").fill("48")
        page.keyboard.press("Escape")
        page.get_by_role("heading", name="Discard the changes?").wait_for()
        page.locator("dialog").last.get_by_role("button", name="Cancel").click()
        dialog.get_by_role("button", name="Save").click()
        page.locator("dialog").wait_for(state="detached")
        assert settings(server, "camera-3") == {
            "zones": [],
            "masks": [],
            "schedule": [{"days": ["tue", "wed", "thu", "fri", "sun"], "from": "18:00", "to": "07:30"}],
            "events": False,
            "min_face": 48,
            "stranger_rate": 0.001,
            "unknown_quality": 0.25,
        }
        dialog = open_settings(page, "Camera 3")
        assert dialog.get_by_label("Ends at").input_value() == "07:30"
        assert dialog.get_by_label("Strangers who get a name").input_value() == "0.001"
        dialog.get_by_role("button", name="Remove hours 1").click()
        page.keyboard.press("Escape")
        page.locator("dialog").last.get_by_role("button", name="Discard").click()
        page.locator("dialog").first.wait_for(state="detached")
        assert settings(server, "camera-3")["schedule"] != []


@pytest.mark.parametrize(
    ("size", "theme", "locale"),
    [(PHONE, "dark", "ar"), ({"width": 1440, "height": 900}, "light", "en-GB")],
    ids=["phone", "wide"],
)
def test_nothing_overflows_and_axe_has_no_serious_finding(chromium, server, size, theme, locale):
    points = [[0.1, 0.1], [0.6, 0.1], [0.6, 0.6]]
    areas = {"zones": [{"name": "Entrance", "points": points}], "masks": [{"points": [[0.7, 0.7], [0.9, 0.7], [0.9, 0.9]]}]}
    hours = [{"days": ["mon", "sun"], "from": "08:00", "to": "18:00"}]
    server.request("PUT", "/cameras/camera-4/settings", json={**areas, "schedule": hours})
    with Visit(chromium, server.url, size=size, theme=theme, locale=locale) as visit:
        page = visit.open("#/live/camera-4")
        page.locator(".watch-state.good").wait_for()
        assert visit.overflow() <= 0 and visit.barriers() == []
        page.locator(".watch-tools button").nth(2).click()
        page.locator(".area-sheet > img:not([hidden])").wait_for()
        visit.shoot("dialog")
        assert visit.overflow() <= 0 and visit.barriers() == []
        page.locator(".area-sheet + p + .row button").first.click()
        assert visit.overflow() <= 0 and visit.barriers() == []
        visit.shoot("drawing")


def test_the_default_camera_is_removed_and_made_again(chromium, server):
    with Visit(chromium, server.url, size=DESKTOP) as visit:
        page = visit.open("#/live/default")
        page.get_by_role("button", name="Edit Camera", exact=True).click()
        page.get_by_label("Name", exact=True).fill("Hall")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("button", name="Remove Hall", exact=True).click()
        page.get_by_role("button", name="Remove", exact=True).click()
        page.get_by_role("button", name="Add a camera").click()
        page.get_by_label("Type", exact=True).select_option("Test pattern")
        page.get_by_label("Name", exact=True).fill("Door")
        page.get_by_role("switch", name="Make it the default camera").check()
        page.get_by_role("button", name="Add", exact=True).click()
        card(page, "Door").wait_for()
        assert server.get("/cameras/default").json()["name"] == "Door"
        page.get_by_role("button", name="Add a camera").click()
        page.get_by_label("Type", exact=True).wait_for()
        assert page.get_by_role("switch", name="Make it the default camera").count() == 0
