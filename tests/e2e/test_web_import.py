"""Adding many people on the page, in a real browser: folders, ZIP files and CSV files, what is refused, and what is kept."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest

from . import pictures
from .browsing import DESKTOP, PHONE, Gate, Visit

ADD_MANY = "Add many people"


@pytest.fixture
def server(without_camera, faces):
    """Joe Biden with one photo."""
    without_camera.enrol_only({"Joe Biden": [faces["biden"]]})
    return without_camera


@pytest.fixture
def shots(faces) -> dict[str, bytes]:
    return {
        "collins": pictures.smaller(faces["collins"], 400),
        "obama": pictures.smaller(faces["obama"], 400),
        "obama2": pictures.smaller(faces["obama2"], 410),
        "biden": pictures.smaller(faces["biden"], 420),
        "nobody": faces["nobody"],
        "trio": faces["trio"],
    }


def write(folder, files: dict[str, bytes]):
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer.getvalue()


def planned(page) -> dict[str, str]:
    """Who is on the list, and what is said of each."""
    page.locator(".import-person .tag").first.wait_for()
    pair = "[each.querySelector('input:not([type])').value, each.querySelector('.tag').textContent]"
    return page.locator(".import-person").evaluate_all(f"all => Object.fromEntries(all.map(each => {pair}))")


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_a_folder_of_folders_is_added_and_what_is_refused_is_put_right(chromium, server, shots, tmp_path, size, theme):
    files = {
        "Staff/Eileen Collins/1.jpg": shots["collins"],
        "Staff/Barack Obama/2020/1.jpg": shots["obama"],
        "Staff/Barack Obama/.DS_Store": b"clutter",
        "Staff/Joe Biden/trio.jpg": shots["trio"],
        "Staff/Joe Biden/obama.jpg": shots["obama2"],
        "Staff/Nobody/nobody.jpg": shots["nobody"],
        "Staff/loose.jpg": shots["biden"],
        "Staff/list.txt": b"not a photo",
    }
    with Visit(chromium, server.url, size, theme) as visit:
        page = visit.open("#/people")
        page.locator(".person").first.wait_for()
        visit.drop_paths("#main", write(tmp_path, files) / "Staff")
        page.get_by_role("heading", name=ADD_MANY).wait_for()
        page.get_by_text("Has 1 photo").wait_for()
        assert planned(page) == {
            "": "No name",
            "Barack Obama": "New",
            "Eileen Collins": "New",
            "Joe Biden": "Has 1 photo",
            "Nobody": "New",
        }
        assert page.get_by_text("1 file is not a photo").is_visible()
        page.get_by_text("6 photos, 4 people, 1 needs a decision").wait_for()
        page.locator(".import-person").last.scroll_into_view_if_needed()
        page.locator("canvas.crop").first.wait_for()
        visit.shoot("plan")
        assert visit.overflow() <= 0 and visit.barriers() == []
        page.get_by_role("button", name="Add 5 photos of 4 people").click()
        page.get_by_role("button", name="Cancel").click()  # of the question about the photo without a name
        page.get_by_label("Name of the person in Staff/loose.jpg").fill("Joe Biden")
        gate = Gate(page)
        page.get_by_role("button", name="Add 6 photos of 4 people").click()
        gate.wait(4)
        page.get_by_text("0 of 6 photos done").wait_for()
        page.get_by_role("link", name="Live").click()  # the import does not depend on the view
        page.get_by_role("heading", name="Live").wait_for()
        page.locator("#job").get_by_text("Adding photos: 0 of 6 done").wait_for()
        visit.shoot("strip")
        gate.open()
        page.locator(".toast").get_by_text("3 photos of 3 people added, 3 not added").wait_for()
        page.locator("#job").get_by_text("3 photos of the import were not added").click()
        page.get_by_text("3 photos of 3 people added, 3 not added.").wait_for()
        for title in ("Several faces: 1 photo", "Looks like somebody else: 1 photo", "No face: 1 photo"):
            page.get_by_role("heading", name=title).wait_for()
        visit.shoot("report")
        assert visit.overflow() <= 0 and visit.barriers() == []
        page.get_by_role("button", name="Choose the face: Staff/Joe Biden/trio.jpg").click()
        page.get_by_role("button", name="Joe Biden, distance").click()
        page.get_by_role("heading", name="Several faces").wait_for(state="hidden")
        page.get_by_role("button", name="Remove Staff/Nobody/nobody.jpg").click()
        page.get_by_role("heading", name="No face").wait_for(state="hidden")
        page.get_by_role("button", name="Done").click()
        page.get_by_role("heading", name="Close the report?").wait_for()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Add anyway: Staff/Joe Biden/obama.jpg").click()
        page.get_by_text("5 photos of 3 people added.").wait_for()
        page.get_by_role("button", name="Done").click()
        page.locator(".person", has_text="Eileen Collins").wait_for()
        counts = {name: each["photos"] for name, each in server.people().items()}
        assert counts == {"Barack Obama": 1, "Eileen Collins": 1, "Joe Biden": 4}


def test_a_zip_file_with_names_of_files_and_a_csv_file(visit, server, shots):
    page = visit.open("#/import")
    files = {"Eileen_Collins_0001.jpg": shots["collins"], "IMG_2041.jpg": shots["obama"], "__MACOSX/x.jpg": b""}
    archive = zipped({**files, "../../up.jpg": shots["biden"]})
    visit.choose(page.get_by_role("button", name="Choose files"), ("all.zip", archive))
    assert planned(page) == {"": "No name", "up": "New", "Eileen Collins": "New"}
    page.get_by_label("Name of the person in IMG_2041.jpg").fill("Barack Obama")
    page.get_by_label("Add the photos in up.jpg").uncheck()
    page.get_by_text("Left out").wait_for()
    # a photo more does not change what was decided
    visit.choose(page.get_by_role("button", name="Choose files"), ("Collins 2.jpg", shots["collins"]))
    page.get_by_label("Name of the person in Collins 2.jpg").wait_for()
    assert planned(page) == {"Barack Obama": "New", "up": "Left out", "Collins": "New", "Eileen Collins": "New"}
    rows = ["file;name", 'img_2041.jpg;"Obama; Barack"', "Eileen_Collins_0001.jpg;Eileen", "Collins 2.jpg;Eileen", "gone.jpg;X"]
    table = "\r\n".join(rows).encode("utf-8-sig")
    visit.choose(page.get_by_role("button", name="Choose files"), ("names.csv", table))
    page.get_by_text("1 file of the CSV file is not among the photos").wait_for()
    assert planned(page) == {"": "No name", "Eileen": "New", "Obama; Barack": "New"}
    assert page.get_by_label("a CSV file").is_checked()
    page.get_by_role("button", name="Add 3 photos of 2 people").click()
    page.get_by_role("button", name="Continue without them").click()
    page.get_by_text("2 photos of 2 people added, 1 already enrolled.").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the report").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text("utf-8-sig"))))
    assert [(row["name"], row["result"]) for row in rows if row["name"] != "Eileen"] == [("Obama; Barack", "added")]
    assert server.people()["Obama; Barack"]["photos"] == 1


def test_nothing_is_lost_when_the_server_is_away_or_the_import_is_ended(visit, server, shots):
    page = visit.open("#/import")
    files = [(f"Eileen Collins {side}.jpg", pictures.smaller(shots["collins"], side)) for side in range(300, 370, 10)]
    visit.choose(page.get_by_role("button", name="Choose files"), *files)
    page.get_by_role("link", name="People").first.click()
    page.locator("#job").get_by_text("An import of 7 photos has not been started").click()
    page.route("**/enroll", lambda route: route.abort())
    page.get_by_role("button", name="Add 7 photos of 1 person").click()
    page.get_by_text("The server is not responding.").wait_for()
    page.unroute("**/enroll")
    gate = Gate(page)
    page.get_by_role("button", name="Continue").click()
    gate.wait(4)
    page.get_by_role("button", name="End").click()
    page.get_by_role("button", name="End the import").click()
    gate.open()
    page.get_by_role("heading", name="Not sent: 3 photos").wait_for()
    page.get_by_role("button", name="Add all 3").click()
    page.get_by_text("7 photos of 1 person added.").wait_for()
    visit.said = [each for each in visit.said if "ERR_FAILED" not in each]
    assert server.people()["Eileen Collins"]["photos"] == 7


def test_photos_for_one_person_that_show_several_are_handed_over(visit, server, shots):
    page = visit.open("#/people")
    visit.drop("#main", ("Eileen Collins.jpg", shots["collins"]), ("Barack Obama.jpg", shots["obama"]))
    page.get_by_role("button", name="These are several people").click()
    assert planned(page) == {"Barack Obama": "New", "Eileen Collins": "New"}
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Discard").last.click()
    page.get_by_text("Drop a folder, a ZIP file or photos here").wait_for()


MODULE = "const { %s } = await import(new URL('%s', document.querySelector('script[type=module]').src));"


def test_zip_files_are_read_within_limits(visit, server):
    """The module itself, in the browser: it is given many files, and some that are damaged or larger than they say."""
    page = visit.open("#/import")

    def read(data: bytes, **limits):
        given = {"data": list(data), "limits": limits}
        return page.evaluate(
            "async ({ data, limits }) => {"
            + MODULE % ("entries, LIMITS", "zip.js")
            + """
                const file = new File([new Uint8Array(data)], "a.zip");
                const say = (error) => error.constructor.name === "ZipError" ? error.message : `${error.stack}`;
                try {
                    const found = await entries(file, { ...LIMITS, ...limits });
                    const texts = found.map((each) => each.open().then((file) => file.text(), say));
                    return (await Promise.all(texts)).map((text, at) => [found[at].path, text]);
                } catch (error) { return say(error); }
            }""",
            given,
        )

    good = {"a/ä.txt": b"hello " * 100, "b.txt": b""}
    whole = [["a/ä.txt", "hello " * 100], ["b.txt", ""]]
    assert read(zipped(good)) == read(zipped(good, zipfile.ZIP_STORED)) == whole
    commented = io.BytesIO(zipped(good))
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"c" * 300
    assert read(commented.getvalue()) == whole
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("large.txt", "w", force_zip64=True) as file:
        file.write(b"64")
    assert read(buffer.getvalue()) == [["large.txt", "64"]]
    assert "at most 1" in read(zipped(good), entries=1)
    assert "too large" in read(zipped(good), all=100)
    assert read(zipped(good), file=100)[0][1] == "the file is too large"
    assert "not a ZIP file" in read(b"PK" * 30)
    assert "not a ZIP file" in read(zipped(good)[:-30])
    damaged = bytearray(zipped({"a.txt": b"hello"}, zipfile.ZIP_STORED))
    damaged[damaged.index(b"hello")] ^= 1
    assert read(bytes(damaged)) == [["a.txt", "the ZIP file is damaged here"]]
    bomb = bytearray(zipped({"a.txt": bytes(1_000_000)}))
    at = bomb.index(b"PK\1\2")
    bomb[at + 24 : at + 28] = (10).to_bytes(4, "little")  # it says ten bytes
    assert read(bytes(bomb)) == [["a.txt", "the ZIP file is damaged here"]]
    locked = bytearray(zipped({"a.txt": b"hello"}))
    locked[locked.index(b"PK\1\2") + 8] |= 1
    assert "encrypted" in read(bytes(locked))[0][1]


def test_names_come_from_folders_files_and_tables(visit, server):
    page = visit.open("#/import")

    def ask(what: str, given):
        module = MODULE % ("namesByFolder, nameOfFile, namesByTable, table", "intake.js")
        return page.evaluate(f"async (given) => {{ {module} return {what}; }}", given)

    by_folder = "namesByFolder(given)"
    assert ask(by_folder, ["all/Ann/1.jpg", "all/Bob/x/2.jpg", "all/3.jpg"]) == ["Ann", "Bob", ""]
    assert ask(by_folder, ["Ann/1.jpg", "Ann/2.jpg"]) == ["Ann", "Ann"]
    assert ask(by_folder, ["1.jpg"]) == [""]
    of_files = {
        "George_W_Bush_0001.jpg": "George W Bush",
        "Ann (2).JPG": "Ann",
        "Ann-Marie.png": "Ann-Marie",
        "Jean Photopoulos.jpg": "Jean Photopoulos",
        "李小龍 2.jpg": "李小龍",
        "IMG_2041.jpg": "",
        "20231105_1200.jpg": "",
        "Photo 3.jpg": "",
    }
    assert ask("given.map(nameOfFile)", list(of_files)) == list(of_files.values())
    assert ask("table(given)", 'a.jpg,"Ann ""B"" C"\nb.jpg,Bob') == [["a.jpg", 'Ann "B" C'], ["b.jpg", "Bob"]]
    assert ask("table(given)", "person\tphoto\nAnn\tx/a.jpg\n") == [["x/a.jpg", "Ann"]]
    found = ask("namesByTable(given[0], given[1])", [["top/x/a.jpg", "b.jpg"], [["X\\A.jpg", "Ann"], ["c.jpg", "Cy"]]])
    assert found == {"names": ["Ann", ""], "missing": ["c.jpg"]}
