"""The view Settings, in a real browser: the slider on the gallery's own distances, keys, and what may not be changed here."""

from __future__ import annotations

import json
import re

import pytest

from ..receivers import Receiver
from .browsing import PHONE, Visit
from .serving import Server, code

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces):
    server = Server(tmp_path_factory.mktemp("web-settings"), camera="none", min_face=25, watch="off", webhook_allow="127.0.0.1")
    server.put("Barack Obama/one.jpg", faces["obama"])
    server.put("Barack Obama/two.jpg", faces["obama2"])
    server.put("Joe Biden/one.jpg", faces["biden"])
    server.put(f"{HOSTILE}/one.jpg", faces["collins"])
    with server:
        yield server


def slide(page, steps: int) -> None:
    page.get_by_role("slider").focus()
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")


def test_the_slider_shows_what_would_be_accepted_and_saves(visit, server, faces):
    page = visit.open("#/settings")
    page.get_by_text("1 in 100 strangers gets a wrong name").wait_for()
    page.locator(".closest li").first.wait_for()  # the distances are measured, so the section is not drawn anew any more
    threshold = page.locator(".rate-figures .number").first
    before = threshold.inner_text()
    assert float(before) == pytest.approx(server.recognize(faces["biden"])["faces"][0]["threshold"], abs=1e-3)
    assert page.get_by_role("button", name="Save").is_disabled()
    assert page.locator(".rate-chart rect.same").count() >= 1 and page.locator(".rate-chart rect.different").count() >= 1
    closest = page.locator(".closest li")
    assert closest.count() == 3 and page.locator(".closest .tag.bad").count() == 0
    assert closest.first.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 20
    assert page.locator(".pair-names a", has_text=HOSTILE).count() == 2 and page.locator("img[src='x']").count() == 0
    slide(page, 5)  # one in two: what would be mistaken is shown before it is saved
    page.get_by_text("1 in 2 strangers gets a wrong name").wait_for()
    assert float(threshold.inner_text()) > float(before)
    assert server.get("/health").json()["stranger_rate"] == 0.01
    slide(page, -8)
    page.get_by_text("1 in 1,000 strangers gets a wrong name").wait_for()
    assert float(threshold.inner_text()) < float(before)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved: 1 in 1,000 strangers may get a wrong name").first.wait_for()
    assert server.recognize(faces["biden"])["faces"][0]["threshold"] == pytest.approx(float(threshold.inner_text()), abs=1e-3)
    page.reload()
    page.get_by_text("1 in 1,000 strangers gets a wrong name").wait_for()
    page.get_by_role("button", name="Use default (1 in 100)").click()
    page.get_by_text("1 in 100 strangers gets a wrong name").wait_for()
    assert server.get("/health").json()["stranger_rate"] == 0.01
    assert page.get_by_role("button", name="Use default").is_hidden()


def test_figures_of_before_the_last_change_say_so(visit):
    page = visit.open("#/try")
    reply = {}

    def outdated(route):
        reply.update(route.fetch().json(), current=False)
        route.fulfill(json=reply)

    page.route("**/calibration", outdated)
    page = visit.open("#/settings")
    said = page.get_by_text("are from before the last change of the enrolled photos")
    said.wait_for()
    visit.shoot("outdated")
    page.unroute("**/calibration")
    said.wait_for(state="detached")  # by itself
    assert page.locator(".closest li").count() == 3


def test_figures_follow_the_gallery_while_they_are_shown(visit, server, faces):
    page = visit.open("#/settings")
    page.locator(".closest li").first.wait_for()
    assert page.get_by_text("with 4 photos enrolled").count() == 1
    assert server.enroll("Somebody", faces["obama3"], force="true").status_code == 201
    page.get_by_text("with 5 photos enrolled").wait_for()
    assert server.request("DELETE", "/people/Somebody").status_code == 200
    page.get_by_text("with 4 photos enrolled").wait_for()
    assert page.locator(".closest").get_by_text("Somebody").count() == 0
    assert page.locator(".closest .missing").count() == 0


def test_every_setting_is_listed_and_found(visit):
    page = visit.open("#/settings")
    rows = page.locator(".all-settings li")
    rows.first.wait_for()
    row = rows.filter(has_text="RECOGNIZER_MIN_FACE")
    assert row.locator(".setting-value").inner_text() == "25" and row.locator(".tag").inner_text() == "environment"
    assert rows.filter(has_text="RECOGNIZER_ADMIN_KEY").locator(".setting-value").inner_text() == "not set"
    page.get_by_label("Find a setting").fill("webhook secret")
    page.wait_for_function("() => [...document.querySelectorAll('.all-settings li')].filter((each) => !each.hidden).length < 5")
    assert rows.filter(has_text="RECOGNIZER_WEBHOOK_SECRET").first.is_visible()
    page.get_by_label("Find a setting").fill("nothing of the kind")
    page.get_by_text("No matches").wait_for()


def test_a_setting_is_changed_on_the_page_and_bad_values_are_explained(visit, server):
    page = visit.open("#/settings")
    row = page.locator(".all-settings li", has_text="RECOGNIZER_BIN_DAYS")
    row.get_by_role("button", name="Change RECOGNIZER_BIN_DAYS").click()
    page.get_by_label("Value").fill("400")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text="365").wait_for()
    page.get_by_label("Value").fill("3")
    page.keyboard.press("Enter")
    page.get_by_text("RECOGNIZER_BIN_DAYS is 3 now").wait_for()
    assert row.locator(".setting-value").inner_text() == "3" and row.get_by_text("this page").is_visible()
    assert server.get("/bin").json()["days"] == 3
    assert (
        not visit.barriers()
        and page.locator(".all-settings li", has_text="RECOGNIZER_QUEUE").get_by_role("button").count() == 0
    )
    assert server.request("PATCH", "/settings", json={"bin_days": 7}).status_code == 200


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()
    yield made
    made.close()


def receivers(page):
    return page.locator("section", has=page.get_by_role("heading", name="Where events are sent"))


def test_a_webhook_is_added_tested_limited_signed_and_removed_without_a_restart(visit, server, receiver):
    page = visit.open("#/settings")
    card = receivers(page)
    card.get_by_role("button", name="Add a webhook").click()
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("dialog .field-error", has_text="Enter an address.").wait_for()
    page.get_by_label("Address").fill("ftp://x")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text="http://").wait_for()
    page.get_by_label("Address").fill(receiver.url)
    page.keyboard.press("Enter")
    card.get_by_text(f"http://127.0.0.1:{receiver.port}").wait_for()
    card.get_by_role("button", name="Send a test to").click()
    page.get_by_text("The test event was sent and accepted").wait_for()
    assert json.loads(receiver.taken[-1][1])["kind"] == "test" and "token=" not in page.content()
    receiver.answers = [500]
    card.get_by_role("button", name="Send a test to").click()
    page.locator(".toast.bad", has_text="500").wait_for()
    visit.said = [each for each in visit.said if "status of 502" not in each]  # the browser's own words about that answer

    card.get_by_role("button", name="What is sent").click()
    for label in (
        "Somebody enters a zone",
        "A camera is live",
        "A camera is disconnected",
        "A camera's picture is frozen",
        "A recording has ended",
    ):
        page.get_by_label(label).uncheck()
    visit.copied(page.get_by_role("button", name="Make one"))
    assert page.get_by_label("Secret that signs requests").input_value().startswith("whsec_")
    assert visit.barriers() == []
    page.get_by_role("button", name="Save", exact=True).last.click()
    card.get_by_text("Requests are signed with your secret.").wait_for()
    said = server.get("/receivers").json()
    assert said["webhook_events"] == ["appeared", "left", "unknown"] and said["webhook_signed"] is True
    row = page.locator(".all-settings li", has_text="RECOGNIZER_WEBHOOK_EVENTS")
    row.get_by_text("this page").wait_for()
    assert row.get_by_text("It can be changed above.").is_visible()

    card.get_by_role("button", name="Remove http").click()
    page.locator(".dialog-foot").get_by_role("button", name="Remove").click()
    card.get_by_text("None. A webhook is a web address").wait_for()
    assert server.get("/receivers").json()["webhooks"] == []


def test_a_broker_is_set_with_the_keyboard_and_what_is_wrong_is_said(visit, server):
    page = visit.open("#/settings")
    card = receivers(page)
    card.get_by_role("button", name="Connect a broker").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Host name or address").focus()
    page.keyboard.type("127.0.0.2")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text="RECOGNIZER_WEBHOOK_ALLOW").wait_for()
    page.get_by_label("Host name or address").fill("127.0.0.1")
    page.get_by_label("Port").fill("1")
    page.get_by_label("User").fill("me")
    page.get_by_label("Password").fill("hidden")
    page.keyboard.press("Enter")
    card.get_by_text("mqtt://me@127.0.0.1:1").wait_for()
    card.locator(".field-error", has_text="no connection could be made").wait_for()
    card.get_by_role("button", name="Send a test to").click()
    page.locator(".toast.bad", has_text="no connection to the broker").wait_for()
    visit.said = [each for each in visit.said if "status of 502" not in each]
    card.get_by_role("button", name="Change", exact=True).click()
    assert page.get_by_label("User").input_value() == "me" and page.get_by_label("Password").input_value() == ""
    page.get_by_label("Port").fill("2")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text="it would go to another broker").wait_for()
    assert page.get_by_label("Password").get_attribute("aria-invalid") == "true"
    visit.escape()
    card.get_by_role("button", name="Remove mqtt").click()
    page.locator(".dialog-foot").get_by_role("button", name="Remove").click()
    card.get_by_text("None. With a broker").wait_for()
    assert server.get("/receivers").json()["mqtt"] is None and "hidden" not in server.log()


def test_how_the_server_is(visit, server):
    page = visit.open("#/settings")
    page.locator(".tag", has_text="Ready").wait_for()
    shown = page.locator("section", has=page.get_by_role("heading", name="Server", exact=True)).inner_text()
    health = server.get("/health").json()
    engine = health["engine"]
    for words in ("3 people with 4 usable photos", health["version"], engine["detector"], engine["calibration"]["data_set"]):
        assert words in shown


def test_an_administrator_finds_every_part_and_nothing_large_is_fetched_for_it(visit):
    page = visit.open("#/settings")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.locator(".all-settings li").first.wait_for()
    for heading in ("Server", "Audit log", "Backup"):
        assert page.get_by_role("heading", name=heading).count() == 1
    assert any(url.endswith("/health") for url in asked) and not any("openapi" in url for url in asked)


@pytest.mark.parametrize(("size", "theme"), [(PHONE, "dark"), ({"width": 1440, "height": 900}, "light")], ids=["phone", "wide"])
def test_nothing_overflows_and_axe_has_no_serious_finding(chromium, server, size, theme):
    with Visit(chromium, server.url, size=size, theme=theme) as visit:
        page = visit.open("#/settings")
        page.locator(".closest li").first.wait_for()
        page.locator(".all-settings li").first.wait_for()
        page.get_by_text("There are no keys: anyone on").wait_for()
        page.get_by_role("heading", name="Audit log").wait_for()
        assert visit.overflow() <= 0 and visit.barriers() == []
        page.get_by_role("button", name="Create a key").click()
        page.get_by_text("This locks the server").wait_for()
        assert visit.overflow() <= 0 and visit.barriers() == []


def test_a_rate_that_is_said_elsewhere_is_shown_and_cannot_be_moved(chromium, tmp_path):
    with Server(tmp_path, camera="none", watch="off", stranger_rate=0.03) as server, Visit(chromium, server.url) as visit:
        page = visit.open("#/settings")
        page.get_by_text("Set by RECOGNIZER_STRANGER_RATE").wait_for()
        page.get_by_text("1 in 33 strangers gets a wrong name").wait_for()
        assert page.get_by_role("slider").is_disabled()
        assert page.get_by_role("button", name="Save").count() == 0
        page.get_by_text("Nobody is enrolled yet").wait_for()


def test_keys_are_made_used_and_revoked_and_the_first_one_locks_the_house(visit, chromium, server):
    page = visit.open("#/settings")
    page.get_by_text("There are no keys: anyone on this machine").wait_for()
    page.get_by_role("button", name="Create a key").click()
    page.get_by_text("This locks the server").wait_for()
    role = page.get_by_label("Role", exact=True)
    assert role.is_disabled() and role.input_value() == "admin"
    page.get_by_role("button", name="Create and lock").click()
    page.get_by_text("Enter a name for the key.").wait_for()
    page.get_by_label("Name", exact=True).fill("me")
    page.keyboard.press("Enter")
    first = page.locator(".new-key").inner_text()
    assert re.fullmatch(r"rk_[a-z0-9]{8}_[\w-]{43}", first)
    assert visit.copied(page.locator(".dialog-foot").get_by_role("button", name="Copy")) == first
    page.get_by_text("Copied", exact=True).wait_for()
    assert code(server.get("/people")) == "key_required"
    server.always = {"headers": {"X-Api-Key": first}}
    page.get_by_role("button", name="I have saved it").click()
    page.get_by_role("button", name="Sign out me").wait_for()  # signed in by itself
    mine = page.locator(".key", has=page.locator(".key-name", has_text=re.compile("^meyou$")))  # ids hold any letters
    mine.wait_for()
    assert first not in page.content()

    page.get_by_role("button", name="Create a key").click()
    page.get_by_label("Name", exact=True).fill(HOSTILE)
    assert page.get_by_text("This locks the server").count() == 0
    page.get_by_label("Valid for").select_option("30 days")
    page.get_by_role("button", name="Create", exact=True).click()
    second = page.locator(".new-key").inner_text()
    page.get_by_role("button", name="I have saved it").click()
    row = page.locator(".key", has_text=HOSTILE)
    row.wait_for()
    assert page.locator("img[src='x']").count() == 0
    visit.shoot("keys")

    with Visit(chromium, server.url) as other:
        other.open()
        other.page.get_by_label("Key").fill(second)
        other.page.keyboard.press("Enter")
        other.page.get_by_role("link", name="Settings").click()
        other.page.get_by_role("heading", name="Server", exact=True).wait_for()
        for heading in ("API keys", "All settings", "Match threshold"):
            assert other.page.get_by_role("heading", name=heading).count() == 0
        assert other.page.get_by_role("link", name="Strangers").count() == 0
        other.page.get_by_role("link", name="Live", exact=True).click()
        other.page.get_by_role("heading", name="No cameras yet").wait_for()
        assert other.page.get_by_role("button", name="Add a camera").count() == 0

        row.get_by_role("button", name="Revoke").click()
        page.get_by_role("button", name="Cancel").click()
        assert server.get("/people", headers={"X-Api-Key": second}).status_code == 200
        row.get_by_role("button", name="Revoke").click()
        page.locator(".dialog-foot").get_by_role("button", name="Revoke").click()
        page.get_by_text("1 inactive key").wait_for()
        assert code(server.get("/people", headers={"X-Api-Key": second})) == "invalid_key"
        other.page.get_by_role("heading", name="Sign in").wait_for()  # the next time it asks

    mine.get_by_role("button", name="Revoke").click()
    page.get_by_text("You are signed in with this key").wait_for()
    page.get_by_role("button", name="Cancel").click()


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["Rule added", "action webhook", "role Admin", "This key is not valid × 1", "command line, "]),
        (
            "de",
            [
                "Regel hinzugefügt",
                "Aktion webhook",
                "Rolle Verwalten",
                "Dieser Schlüssel ist nicht gültig × 1",
                "Befehlszeile, ",
            ],
        ),
        ("ar", ["الإجراء webhook", "هذا المفتاح غير صالح × 1", "سطر الأوامر، "]),
    ],
)
def test_the_audit_log_is_in_the_pages_language(chromium, tmp_path, language, said):
    with Server(tmp_path, camera="none") as server:
        key = json.loads(server.cli("--json", "keys", "add", "door", "--role", "admin").stdout)["key"]
        server.always = {"headers": {"X-Api-Key": key}}
        assert server.post("/rules", json={"action": "webhook", "url": "https://example.org/"}).status_code == 201
        assert server.get("/people", headers={"X-Api-Key": "rk_no_key"}).status_code == 401
        with Visit(chromium, server.url, size=PHONE, locale=language) as visit:
            page = visit.open("#/settings")
            page.locator("#key").fill(key)
            page.keyboard.press("Enter")
            page.locator(".audit li").nth(3).wait_for()
            page.locator(".audit").scroll_into_view_if_needed()
            visit.shoot("audit")
            for each in said:
                page.get_by_text(each).first.wait_for()
            assert visit.overflow() <= 0 and visit.barriers() == []
