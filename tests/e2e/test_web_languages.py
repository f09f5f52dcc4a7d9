"""The page in other languages, in a real browser: German and, from right to left, Arabic, wide and on a phone."""

from __future__ import annotations

import re

import pytest

from tests.brokers import free_port

from .browsing import PHONE, Visit
from .serving import Server

WIDE = {"width": 1440, "height": 900}
#: A view -> what it shows last.
VIEWS = {
    "#/try": ".drop",
    "#/people": ".person img.crop",
    "#/people/Barack%20Obama": ".photo .tag.bad",
    "#/live": ".watch-state.good",
    "#/rules": ".empty",
    "#/strangers": ".strangers-off",
    "#/archive": ".empty",
    "#/import": ".drop",
    "#/settings": ".all-settings li",
}
TITLES = {"de": "Wer ist auf diesem Foto?", "ar": "من في هذه الصورة؟"}
#: Elements whose text reaches out of the window, or is cut off where no ellipsis says so.
CUT_OFF = """() => [...document.querySelectorAll("body *")].filter((node) => {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!own || node.closest(".out, .skip, .language, [hidden], pre, .watch-screen") || !node.checkVisibility()) return false;
    const box = node.getBoundingClientRect(), style = getComputedStyle(node);
    const outside = box.left < -1 || box.right > document.documentElement.clientWidth + 1;
    const cut = node.scrollWidth > node.clientWidth + 1 && style.overflowX !== "visible" && style.textOverflow !== "ellipsis";
    return box.width > 0 && (outside || cut);
}).map((node) => node.textContent.trim().slice(0, 60))"""
#: What people read, except names, code, and what the API says of its settings.
READ = """() => [...document.querySelectorAll("body *")].flatMap((node) => {
    const others = "code, pre, .all-settings, .audit, .keys, select, .out, noscript, script";
    if (node.closest(others) || !node.checkVisibility()) return [];
    const labels = ["aria-label", "title", "placeholder"].map((name) => node.getAttribute(name) ?? "");
    return [...labels, ...[...node.childNodes].filter((each) => each.nodeType === 3).map((each) => each.data)];
}).map((text) => text.trim()).filter(Boolean)"""
#: Names, units and words of the server's own, which an Arabic page may hold.
FOREIGN = re.compile(
    r"LFW .* photos|Barack Obama|Joe Biden 1\.jpg|Recognizer|RECOGNIZER_\w+|[\w-]+\.(?:jpg|onnx|dat)|known_faces"
)
#: The views that axe-core checks too: each of them has parts that no other one has.
CHECKED = {"#/try", "#/people/Barack%20Obama", "#/live", "#/settings"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces):
    server = Server(tmp_path_factory.mktemp("web-languages"), camera="test:320x180@5", camera_allow="lan,127.0.0.1")
    server.put("Barack Obama/one.jpg", faces["obama"])
    server.put("Barack Obama/nobody.jpg", faces["nobody"])
    with server:
        yield server


def show(visit, address: str):
    page = visit.page
    page.goto("about:blank")
    page.goto(f"{visit.url}/{address}")
    page.locator(f"main {VIEWS[address]}").first.wait_for()
    return page


@pytest.mark.slow
@pytest.mark.parametrize("language", TITLES)
def test_every_view_is_translated_and_fits_and_axe_finds_no_barrier(chromium, server, language):
    faults = []
    with Visit(chromium, server.url, WIDE, locale=language) as visit:
        for address in VIEWS:
            page = show(visit, address)
            for size in (WIDE, PHONE):
                page.set_viewport_size(size)
                faults += [(address, size["width"], each) for each in (visit.overflow(), *page.evaluate(CUT_OFF)) if each]
                visit.shoot(f"{address.replace('/', '_')}-{size['width']}")
            if language == "ar" and address in CHECKED:  # the other direction; the language itself changes only words
                faults += [(address, each) for each in visit.barriers()]
            page.set_viewport_size(WIDE)
            if language == "ar":
                read = [FOREIGN.sub("", text) for text in page.evaluate(READ)]
                faults += [(address, text) for text in read if re.search(r"[A-Za-z]+ [a-z]+ [a-z]+", text)]
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize("language", TITLES)
def test_the_browsers_language_is_shown_and_one_catalogue_loaded(chromium, server, language):
    with Visit(chromium, server.url, locale=f"{language}-XX") as visit:
        page = visit.open("#/try")
        page.get_by_role("heading", name=TITLES[language]).wait_for()
        assert page.evaluate("[document.documentElement.lang, getComputedStyle(document.body).direction]") == [
            language,
            "rtl" if language == "ar" else "ltr",
        ]
        names = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
        assert [name.rpartition("/")[2] for name in names if name.endswith(".json")] == [f"{language}.json"]


def test_another_language_is_chosen_with_the_keyboard_and_stays(chromium, server):
    with Visit(chromium, server.url, locale="en-GB") as visit:
        page = visit.open("#/try")
        page.get_by_label("Language").focus()
        page.keyboard.press("D")  # the browser's list finds a name by its first letter
        page.get_by_role("heading", name=TITLES["de"]).wait_for()
        page.wait_for_function("document.activeElement.tagName === 'SELECT'")
        assert page.get_by_label("Sprache").input_value() == "de"
        page.reload()
        page.get_by_role("heading", name=TITLES["de"]).wait_for()
        page.get_by_label("Sprache").select_option("en")
        page.get_by_role("heading", name="Who is in this photo?").wait_for()


def test_numbers_dates_and_plurals_are_the_languages_own(chromium, server):
    with Visit(chromium, server.url, locale="ar") as visit:
        page = visit.open("#/try")
        said = page.evaluate(
            """async () => {
                const folder = document.querySelector("script[type=module]").src.replace(/[^/]*$/, "");
                const { n, number, t } = await import(`${folder}i18n.js`);
                const photos = [1, 2, 5, 11, 100].map((count) => n(count, "{count} photo", "{count} photos"));
                return [...photos, number(1234.5), t("{name} was removed", { name: "Eve" })];
            }"""
        )
    assert said == ["صورة واحدة", "صورتان", "5 صور", "11 صورة", "100 صورة", "1,234.5", "تمت إزالة \u2068Eve\u2069"]
    with Visit(chromium, server.url, locale="de-DE") as visit:
        page = show(visit, "#/settings")
        page.get_by_text(re.compile(r"Bei einer Schwelle von \d,\d+ .* 1 von [\d.]+ ")).wait_for()


def test_a_refusal_is_translated_by_its_code_and_english_keeps_the_servers_words(chromium, server, faces):
    for locale, said in (("de", "Kein Gesicht gefunden"), ("en", "no face")):
        with Visit(chromium, server.url, locale=locale) as visit:
            page = visit.open("#/people/Barack%20Obama")
            page.get_by_text(re.compile(said, re.IGNORECASE)).first.wait_for()


def test_without_its_catalogue_the_page_is_english(chromium, server):
    with Visit(chromium, server.url, locale="de") as visit:
        visit.page.route("**/de.json", lambda route: route.fulfill(status=404, body=""))
        page = visit.open("#/try")
        page.get_by_role("heading", name="Who is in this photo?").wait_for()
        assert page.evaluate("document.documentElement.lang") == "en"


#: What the page says of a sentence of the server.
REASON = """async (text) => {
    const { reasonWords } = await import(new URL("reasons.js", document.querySelector("script[type=module]").src));
    return reasonWords(text);
}"""


def test_why_a_camera_is_lost_is_in_the_readers_language(chromium, server):
    port = free_port()
    lost = server.post("/cameras", data={"source": f"rtsp://127.0.0.1:{port}/x", "name": "Garten"}).json()["id"]
    try:
        with Visit(chromium, server.url, locale="de") as visit:
            page = visit.open(f"#/live/{lost}")
            for place in (".watch-why", ".visit"):
                page.locator(place, has_text=f"an Port {port} der Kamera antwortet nichts").first.wait_for()
            both = page.evaluate(REASON, "the picture has not changed for 60 seconds; every picture is black")
            assert both == "das Bild hat sich seit 60 Sekunden nicht geändert; jedes Bild ist schwarz"
            assert page.evaluate(REASON, "something that is new") == "something that is new"
            visit.shoot("lost")
    finally:
        server.request("DELETE", f"/cameras/{lost}")
