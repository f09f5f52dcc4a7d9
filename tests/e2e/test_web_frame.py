"""The page's frame in a real browser: signing in, roles, colours, keyboard, and what axe-core says of each view."""

from __future__ import annotations

import pytest

from recognizer.access.dialects import ADMIN, READ, WRITE

from .browsing import PHONE, Visit
from .serving import Server, make_key

#: The views that the frame offers, by the name that they have there.
VIEWS = {"Try": "#/try", "People": "#/people", "Live": "#/live", "Strangers": "#/strangers", "Settings": "#/settings"}
#: What a view of this server shows last, to an admin.
LAST = {
    "#/try": [".drop"],
    "#/people": [".person img.crop", ".problems"],
    "#/live": [".watch-state.good", ".watch img[src]", ".visits-foot > *", ".pulse.good"],
    "#/strangers": [".strangers-off"],
    "#/settings": [".tag.good", ".rate-figures", ".keys li", ".audit li", ".all-settings li"],
    "#/people/Barack%20Obama": [".photo .tag.good", ".photo .tag.bad"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces):
    """A server with a key of each role in `keys`."""
    server = Server(tmp_path_factory.mktemp("web-frame"), camera="test:320x180@5")
    server.put("Barack Obama/one.jpg", faces["obama"])
    server.put("Barack Obama/nobody.jpg", faces["nobody"])
    with server:
        server.keys = {role: make_key(server, role) for role in (READ, WRITE, ADMIN)}
        server.wait_for(lambda: server.get("/people").status_code == 401)
        server.always = {"headers": {"X-Api-Key": server.keys[ADMIN]}}
        yield server


def sign_in(visit, key: str, address: str = ""):
    page = visit.open(address)
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    page.locator("main:not(.view-sign-in) h1").first.wait_for()
    return page


def show(visit, address: str) -> None:
    """Show another view, and wait until all of it is there."""
    page = visit.page
    page.goto("about:blank")  # so that nothing of the view before is taken for this one
    page.goto(f"{visit.url}/{address}")
    wait_for_all(page, address)


def wait_for_all(page, address: str) -> None:
    view = f".view-{address[2:].partition('/')[0]}"
    for each in LAST[address]:
        page.locator(f"{view} {each}").first.wait_for()
    still = "!image.src.includes('/stream') && image.loading !== 'lazy'"
    page.wait_for_function(f"() => [...document.images].every((image) => image.complete || !({still}))")


def test_a_key_is_asked_for_and_a_wrong_one_told(visit, server):
    page = visit.open("#/people")
    assert page.get_by_role("heading", name="Sign in").is_visible() and page.locator(".tabs a").count() == 0
    assert page.evaluate("document.activeElement.id") == "key"
    page.get_by_label("Key").fill("rk_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.locator(".field-error", has_text="key").wait_for()
    page.get_by_label("Key").fill(server.keys[WRITE])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="People").wait_for()  # where it was meant to lead
    page.reload()
    page.get_by_role("heading", name="People").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    page.reload()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert server.keys[WRITE] not in page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")


def test_who_may_read_sees_nothing_to_write_with(visit, server, faces):
    page = sign_in(visit, server.keys[READ], "#/people/Barack%20Obama")
    page.get_by_role("heading", name="Barack Obama").wait_for()
    for name in ("Add photos", "Rename", "Merge", "Delete", "Remove"):
        assert page.get_by_role("button", name=name).count() == 0
    page.get_by_role("link", name="People", exact=True).first.click()
    page.locator(".person").first.wait_for()
    assert page.get_by_role("button", name="Add a person").count() == 0
    page.get_by_role("link", name="Try", exact=True).click()
    page.locator(".view-try .drop").wait_for()
    visit.drop("#main", ("collins.jpg", faces["collins"]))
    page.locator(".found-face").wait_for()
    assert page.get_by_role("button", name="Add this person").count() == 0
    page.locator("summary").click()
    assert "X-Api-Key: $RECOGNIZER_KEY" in page.locator(".programs pre").first.inner_text()


def test_who_may_write_does_so_with_the_sessions_token(visit, server, faces):
    page = sign_in(visit, server.keys[WRITE], "#/people")
    page.get_by_role("button", name="Add a person").click()
    page.get_by_label("Name", exact=True).fill("Eileen Collins")
    visit.drop("dialog .stack", ("collins.jpg", faces["collins"]))
    page.get_by_role("button", name="Add 1 photo").click()
    page.get_by_text("1 added").first.wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete Eileen Collins").click()
    page.get_by_text("Eileen Collins and 1 photo were deleted").wait_for()


def test_a_key_that_is_revoked_ends_the_visit(visit, server):
    page = sign_in(visit, make_key(server, READ), "#/people")
    page.locator(".person").first.wait_for()
    shown = page.evaluate("fetch('/session').then((reply) => reply.json())")
    assert server.cli("keys", "revoke", shown["key"]["id"]).exit_code == 0
    server.wait_for(lambda: page.evaluate("fetch('/people').then((reply) => reply.status)") == 401)
    page.get_by_role("link", name="Barack Obama").click()  # the next view that asks the server
    page.get_by_role("heading", name="Sign in").wait_for()
    page.locator("#key-error:not(:empty)").wait_for()


def test_colours_follow_the_system_until_they_are_chosen(chromium, server):
    ground = "getComputedStyle(document.body).backgroundColor"
    with Visit(chromium, server.url, theme="dark") as visit:
        page = visit.open()
        dark = page.evaluate(ground)
        page.emulate_media(color_scheme="light")
        server.wait_for(lambda: page.evaluate(ground) != dark)
        light = page.evaluate(ground)
        page.get_by_role("button", name="Dark theme").click()
        server.wait_for(lambda: page.evaluate(ground) == dark)
        page.reload()
        page.get_by_role("button", name="Light theme").click()
        server.wait_for(lambda: page.evaluate(ground) == light)
        page.reload()
        page.get_by_role("button", name="Dark theme").wait_for()
        server.wait_for(lambda: page.evaluate(ground) == light)


def test_the_keyboard_reaches_the_content_first(visit, server):
    page = sign_in(visit, server.keys[READ])
    page.reload()
    page.locator("h1").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_nothing_moves_while_a_view_is_loaded(visit, server):
    page = sign_in(visit, server.keys[ADMIN])
    wait_for_all(page, "#/try")
    page.evaluate(
        """() => {
            window.moved = [];
            window.watch = new PerformanceObserver((list) => moved.push(...list.getEntries()));
            watch.observe({type: "layout-shift", buffered: false});
        }"""
    )
    drawn = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    for address in (*VIEWS.values(), VIEWS["Try"]):
        page.evaluate(drawn)
        page.evaluate("address => { watch.takeRecords(); moved = []; location.hash = address; }", address)
        wait_for_all(page, address)
        page.evaluate(drawn)
        shifts = page.evaluate("() => [...moved, ...watch.takeRecords()].map((each) => each.hadRecentInput ? 0 : each.value)")
        assert sum(shifts) < 0.1, (address, shifts)


def test_the_page_says_that_the_server_is_gone(visit, server):
    page = sign_in(visit, server.keys[READ])
    wait_for_all(page, "#/try")
    page.context.set_offline(True)
    page.get_by_role("link", name="People", exact=True).click()
    page.get_by_role("alert").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").or_(page.get_by_role("button", name="Reload the page")).first.click()
    page.locator(".person").first.wait_for()
    visit.said = [said for said in visit.said if "ERR_INTERNET_DISCONNECTED" not in said]


def test_numbers_in_words(visit, server):
    page = visit.open()
    words = page.locator('link[href$="app.css"]').get_attribute("href").replace("app.css", "words.js")
    said = page.evaluate(
        f"async (rates) => rates.map((await import(new URL('{words}', document.baseURI))).oneIn)",
        [None, 1, 0.9, 0.5, 0.01, 0.001, 0.000123, 1.62e-07, 4e-08, 1.1e-08, 1e-08, 0],
    )
    assert said == [
        "unknown",
        "more than 1 in 2",
        "more than 1 in 2",
        "1 in 2",
        "1 in 100",
        "1 in 1,000",
        "1 in 8,100",
        "1 in 6.2 million",
        "1 in 25 million",
        "1 in 91 million",
        "less than 1 in 100 million",
        "less than 1 in 100 million",
    ]
    pairs = [
        (True, True, 1e-6),
        (True, True, 5e-4),
        (False, True, 5e-3),
        (False, True, 0.1),
        (False, True, 0.6),
        (False, False, None),
    ]
    said = page.evaluate(
        f"async (pairs) => pairs.map((await import(new URL('{words}', document.baseURI))).verdict)",
        [{"same": same, "comparable": comparable, "false_match_rate": rate} for same, comparable, rate in pairs],
    )
    assert [(each["certainty"], each["words"]) for each in said] == [
        ("sure", "The same person"),
        ("likely", "Probably the same person"),
        ("unsure", "Perhaps the same person, perhaps not"),
        ("likely", "Probably two different people"),
        ("sure", "Two different people"),
        ("unsure", "This cannot be told from these photos"),
    ]


def test_axe_would_find_a_barrier(visit):
    page = visit.open()
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any("button-name" in found for found in visit.barriers())


#: Whether the page has noticed that its theme changed: its text is light, and the API's reference says so.
IN_DARK = """() => {
  const [red] = getComputedStyle(document.body).color.match(/\\d+/g).map(Number);
  const { classList } = document.documentElement;
  return red > 128 && (!document.querySelector(".swagger-ui") || classList.contains("dark-mode"));
}"""


def barriers(visit) -> list[str]:
    """What axe-core finds in both themes; the dark one changes only colours."""
    found = visit.barriers()
    visit.page.emulate_media(color_scheme="dark")
    visit.page.wait_for_function(IN_DARK)
    visit.page.evaluate("() => Promise.all(document.getAnimations().map((each) => each.finished))")
    found += [f"dark: {each}" for each in visit.barriers("color-contrast")]
    visit.page.emulate_media(color_scheme="light")
    return found


def test_axe_finds_no_barrier(chromium, server, faces):
    with Visit(chromium, server.url) as visit:
        visit.open()
        found = {"sign in": barriers(visit)}
        page = sign_in(visit, server.keys[ADMIN])
        for name, address in VIEWS.items():
            show(visit, address)
            found[name] = barriers(visit)
        show(visit, "#/people/Barack%20Obama")
        found["a person"] = barriers(visit)
        page.get_by_role("button", name="Open one.jpg").click()
        page.locator("dialog dt", has_text="Sharpness").wait_for()
        found["a photo"] = barriers(visit)
        visit.escape()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete Barack Obama").wait_for()
        found["deleting"] = barriers(visit)
        visit.escape()
        page.get_by_role("button", name="Add photos").click()
        visit.drop("dialog .stack", ("nobody.jpg", faces["nobody"]), ("trio.jpg", faces["trio"]))
        page.get_by_text("2 rejected").first.wait_for()
        found["adding"] = barriers(visit)
        show(visit, "#/try")
        visit.drop("#main", ("trio.jpg", faces["trio"]))
        page.locator(".found-face").first.wait_for()
        page.locator("summary").click()
        found["a photo that was tried"] = barriers(visit)
        assert not any(found.values()), {name: each for name, each in found.items() if each}


def test_every_view_fits_a_phone(chromium, server):
    with Visit(chromium, server.url, PHONE, has_touch=True, is_mobile=True) as visit:
        sign_in(visit, server.keys[ADMIN])
        for name, address in {**VIEWS, "a person": "#/people/Barack%20Obama"}.items():
            show(visit, address)
            assert visit.overflow() <= 0, name


def test_the_reference_of_the_api_works_without_the_internet(visit, server, models_dir):
    page = sign_in(visit, server.keys[WRITE])
    page.goto(f"{server.url}/docs")
    page.locator("#operations-Photos-recognize").wait_for()
    asked = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert all(url.startswith(server.url) for url in asked)
    page.locator("#operations-People-delete_person .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.locator("#operations-People-delete_person").get_by_placeholder("person").fill("Nobody")
    page.get_by_role("button", name="Execute").click()
    page.locator(".responses-inner .live-responses-table", has_text="subject_not_found").wait_for()


def test_axe_finds_no_barrier_in_the_reference_of_the_api(chromium, server, models_dir):
    with Visit(chromium, server.url) as visit:
        visit.page.goto(f"{server.url}/docs")
        visit.page.locator("#operations-Photos-recognize").wait_for()
        assert barriers(visit) == []
