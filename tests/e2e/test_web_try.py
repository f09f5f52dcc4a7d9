"""The view Try, in a real browser: photos by every way in, boxes where the faces are, and the same from a program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from . import pictures
from .browsing import DESKTOP, PHONE, Visit
from .serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces, models_dir):
    server = Server(tmp_path_factory.mktemp("web-try"), camera="none")
    server.put("Barack Obama/one.jpg", faces["obama"])
    server.put("Joe Biden/one.jpg", faces["biden"])
    with server:
        yield server


def names(page) -> list[str]:
    """Who is on the photo, from left to right, once that is known."""
    page.locator(".found-face").first.wait_for()
    places = "all => all.map(each => [each.getBoundingClientRect().left, each.textContent])"
    shown = page.locator(".stage .face").evaluate_all(places)
    return [name for _, name in sorted(shown)]


def test_a_photo_that_is_chosen_shows_who_is_on_it_and_why(visit, faces):
    page = visit.open()
    visit.choose(page.get_by_role("button", name="Choose a photo"), ("trio.jpg", faces["trio"]))
    assert names(page) == ["Barack Obama", "Joe Biden", "Unknown"]
    assert page.locator("h2", has_text="3 faces, 2 recognised").is_visible()
    page.get_by_role("button", name="Barack Obama, distance").click()
    details = page.locator(".found-body:visible")
    assert re.search(r"Distance0\.\d\d \(match below 1\.\d\d\)", details.inner_text().replace("\n", ""))
    assert re.search(r"Chance of a mix-up(less than )?1 in [\d.,]+( million| billion)?", details.inner_text().replace("\n", ""))
    pair = details.locator(".candidates li").first
    assert pair.locator("a").inner_text() == "Barack Obama"
    enrolled = pair.get_by_alt_text("Enrolled photo of Barack Obama")
    enrolled.wait_for()
    assert enrolled.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
    page.get_by_role("button", name="Unknown face").hover()
    page.locator(".found-head[aria-expanded=true]", has_text="Unknown").wait_for()
    assert page.locator(".found-body:visible").count() == 1
    visit.shoot("trio")


def test_photos_are_dropped_and_pasted(visit, faces):
    page = visit.open()
    visit.drop("#main", ("biden.jpg", faces["biden"]))
    assert names(page) == ["Joe Biden"]
    visit.paste(("obama.jpg", faces["obama2"]))
    page.locator(".face", has_text="Barack Obama").wait_for()
    visit.drop("#main", ("nobody.jpg", faces["nobody"]))
    page.get_by_text("No face was found").first.wait_for()
    visit.drop("#main", ("broken.jpg", b"\xff\xd8\xff\xe0 not a photo"))
    page.get_by_role("alert").get_by_text(re.compile("photo|image|picture|JPEG")).wait_for()


def test_several_photos_are_gone_through_and_saved_with_names(visit, faces):
    page = visit.open()
    visit.drop("#main", ("biden.jpg", faces["biden"]), ("trio.jpg", faces["trio"]))
    assert names(page) == ["Joe Biden"]
    page.get_by_role("button", name="trio.jpg").click()
    page.locator(".found-face").nth(2).wait_for()
    sure = page.locator(".found-head", has_text="Joe Biden").locator(".tag")
    assert sure.inner_text() in ("sure", "likely")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save with names").click()
    assert saved.value.suggested_filename == "trio-names.jpg"
    assert pictures.load(saved.value.path().read_bytes()).size == pictures.load(faces["trio"]).size
    page.go_back()
    page.locator(".found-face").nth(1).wait_for(state="detached")
    assert names(page) == ["Joe Biden"]
    visit.shoot("several")


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "dark"), (PHONE, "light")], ids=["desktop", "phone"])
def test_two_photos_are_compared(chromium, server, faces, size, theme):
    with Visit(chromium, server.url, size, theme) as visit:
        page = visit.open()
        page.get_by_role("button", name="Compare two photos").click()
        page.get_by_role("heading", name="Is this the same person?").wait_for()
        visit.drop("#main", ("one.jpg", faces["obama"]), ("two.jpg", faces["obama2"]))
        page.locator(".compare-result .tag", has_text="sure").wait_for()
        assert page.get_by_role("heading", name="The same person", exact=True).is_visible()
        said = server.post("/verify", files={"file": faces["obama"], "other": faces["obama2"]}).json()
        assert f"{said['distance']:.2f}" in page.locator(".compare-result dd").first.inner_text()
        facts = page.locator(".compare-result .facts")  # what is said has room, however long the words before it are
        assert facts.locator("dd").first.bounding_box()["width"] > 0.3 * facts.bounding_box()["width"]
        visit.shoot("same")
        assert visit.overflow() <= 0 and visit.barriers() == []
        visit.choose(page.get_by_role("button", name="Choose the second photo"), ("trio.jpg", faces["trio"]))
        page.get_by_role("heading", name="The same person", exact=True).wait_for(state="detached")
        page.locator(".compare-result h2").wait_for()
        page.get_by_role("button", name="Second photo: compare another face").click()
        page.get_by_role("button", name="Joe Biden, distance").click()
        page.get_by_role("heading", name="Two different people", exact=True).wait_for()
        visit.choose(page.get_by_role("button", name="Choose the first photo"), ("nobody.jpg", faces["nobody"]))
        page.get_by_role("alert").get_by_text("No face was found").wait_for()


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_boxes_lie_on_the_faces_whichever_way_the_camera_was_held(visit, server, faces, orientation):
    photo = pictures.turned(faces["biden"], orientation)
    box, size = (server.recognize(photo)[key] for key in ("faces", "image"))
    page = visit.open()
    visit.drop("#main", ("turned.jpg", photo))
    assert names(page) == ["Joe Biden"]
    places = "all => all.map(each => document.querySelector(each).getBoundingClientRect().toJSON())"
    sheet, face = page.evaluate(places, [".stage-sheet", ".stage .face"])
    scale = sheet["width"] / size["width"]
    assert abs(sheet["height"] / size["height"] - scale) < 0.01
    for edge, place in (("left", face["x"] - sheet["x"]), ("top", face["y"] - sheet["y"])):
        assert abs(place - box[0]["box"][edge] * scale) < 1.5
    assert abs(face["width"] - (box[0]["box"]["right"] - box[0]["box"]["left"]) * scale) < 1.5


def test_a_format_that_browsers_do_not_show_is_shown_all_the_same(visit, faces):
    page = visit.open()
    visit.drop("#main", ("biden.tiff", pictures.converted(faces["biden"], "TIFF")))
    assert names(page) == ["Joe Biden"]
    assert page.locator(".stage img").evaluate("image => image.naturalWidth") > 100


def test_a_photo_by_its_address(visit, web, faces):
    page = visit.open()
    field = page.get_by_label("Photo URL")
    field.fill(web.url("/web-try.jpg?a='b'", faces["biden"], at="/web-try.jpg?a=%27b%27"))
    field.press("Enter")
    assert names(page) == ["Joe Biden"]
    assert page.locator(".stage img").evaluate("image => image.naturalWidth") == pictures.load(faces["biden"]).width
    page.locator("summary").click()
    assert "--data-urlencode" in page.locator(".programs pre").first.inner_text()
    page.get_by_role("button", name="Photo from a URL").click()
    page.locator("dialog input").fill("http://10.0.0.1/a.jpg")
    page.get_by_role("button", name="Open").click()
    page.get_by_role("alert").get_by_text("RECOGNIZER_FETCH_ALLOW").wait_for()


def test_the_browsers_camera(visit):
    page = visit.open()
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take a photo").click()
    assert names(page) == ["Joe Biden"]
    page.locator("dialog").wait_for(state="detached")


def test_landmarks_and_objects_are_switched_on_and_off(visit, faces):
    page = visit.open()
    visit.drop("#main", ("trio.jpg", faces["trio"]))
    names(page)
    page.get_by_label("68 landmarks").check()
    page.locator(".landmarks").wait_for()
    points = page.locator(".landmarks .over").get_attribute("d")
    assert points.count("M") == 3 * 72  # face_recognition's parts name four points of the lips twice
    page.get_by_label("Objects").check()
    page.locator(".object", has_text="person").first.wait_for()
    visit.shoot("all")
    page.get_by_label("68 landmarks").uncheck()
    page.get_by_label("Objects").uncheck()
    page.locator(".landmarks").wait_for(state="detached")
    page.locator(".object").first.wait_for(state="detached")
    assert page.locator(".object").count() == 0 and page.locator(".face").count() == 3


@pytest.mark.parametrize("name", ["biden.jpg", 'it\'s $HOME; "me" `id` \\ 1.jpg'])
def test_the_request_as_a_line_for_a_shell_does_the_same(visit, server, faces, tmp_path, name):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = visit.open()
    visit.drop("#main", (name, faces["biden"]))
    names(page)
    page.locator("summary").click()
    line = visit.copied(page.get_by_role("button", name="Copy request"))
    (tmp_path / name).write_bytes(faces["biden"])
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    shown = json.loads(visit.copied(page.get_by_role("button", name="Copy response")))
    assert found["faces"] == shown["faces"] and found["image"] == shown["image"]


def test_with_the_keyboard_alone(visit, faces):
    page = visit.open()
    visit.drop("#main", ("trio.jpg", faces["trio"]))
    names(page)
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("[document.activeElement.className, document.activeElement.getAttribute('aria-label') ?? '']")
        if focused[0].startswith("face "):
            seen.add(focused[1].split(",")[0])
            assert page.locator(".face[aria-pressed=true]").get_attribute("aria-label") == focused[1]
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert seen == {"Barack Obama", "Joe Biden", "Unknown face"}


def test_on_a_phone(chromium, server, faces):
    with Visit(chromium, server.url, PHONE, has_touch=True, is_mobile=True, device_scale_factor=2) as visit:
        page = visit.open()
        assert visit.overflow() <= 0
        visit.choose(page.get_by_role("button", name="Choose a photo"), ("trio.jpg", faces["trio"]))
        assert names(page) == ["Barack Obama", "Joe Biden", "Unknown"]
        page.get_by_role("button", name="Joe Biden, distance").tap()
        page.locator(".found-head[aria-expanded=true]", has_text="Joe Biden").wait_for()
        assert visit.overflow() <= 0
        tabs = page.locator(".tabs").bounding_box()
        assert tabs["y"] + tabs["height"] == pytest.approx(PHONE["height"], abs=1)
        assert page.locator(".tabs a").first.bounding_box()["height"] >= 44
        page.get_by_role("link", name="People", exact=True).tap()
        page.locator(".person").first.wait_for()
        assert visit.overflow() <= 0


#: The names that can be read on the photo, as [text, left, right, top, bottom].
SHOWN = """[...document.querySelectorAll(".stage .face-name")]
    .filter(each => getComputedStyle(each).visibility == "visible")
    .map(each => [each.textContent, each.getBoundingClientRect()])
    .map(([text, box]) => [text, box.left, box.right, box.top, box.bottom])"""


def test_no_name_lies_on_another(chromium, server, faces):
    crowd = pictures.side_by_side([*[faces["collins"]] * 4, faces["biden"], *[faces["collins"]] * 3])
    with Visit(chromium, server.url, PHONE, has_touch=True, is_mobile=True) as visit:
        page = visit.open()
        visit.choose(page.get_by_role("button", name="Choose a photo"), ("crowd.jpg", crowd))
        page.locator(".found-face").nth(7).wait_for()
        page.locator(".face.crowded").first.wait_for()
        page.wait_for_function(
            f"""() => {SHOWN}.every(([, left, right, top, bottom], at, all) => all.every(
                ([, left2, right2, top2, bottom2], other) =>
                    at == other || left >= right2 || right <= left2 || top >= bottom2 || bottom <= top2))"""
        )
        shown = page.evaluate(SHOWN)
        assert 1 < len(shown) < 8 and "Joe Biden" in [text for text, *_ in shown]
        page.locator(".face.crowded").first.tap()
        name = page.locator(".face.unknown[aria-pressed=true] .face-name")  # it makes room for itself
        name.wait_for()
        assert name.evaluate("each => getComputedStyle(each).visibility") == "visible"
