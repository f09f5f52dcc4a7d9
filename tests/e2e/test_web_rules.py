"""The view Rules, in a real browser: a rule is made in plain words, read back, tested, paused, changed and removed."""

from __future__ import annotations

import json

import pytest

from ..brokers import MISSING, MOSQUITTO, Broker, Listener
from ..push_services import Browser, PushService
from ..receivers import Receiver
from .browsing import PHONE, Visit
from .serving import Server, code

WIDE = {"width": 1440, "height": 900}
#: Stands for what needs the browser maker's service, which is on the internet, and a screen: without one, Chromium allows no
#: notifications.
SUBSCRIBING = """
    Object.defineProperty(Notification, "permission", { value: "granted" });
    const { endpoint, keys } = %s;
    let own = null;
    PushManager.prototype.getSubscription = async () => own;
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      if (!userVisibleOnly || applicationServerKey.length !== 65) throw new TypeError("a browser refuses this");
      const options = { applicationServerKey: applicationServerKey.buffer };
      own = { endpoint, options, toJSON: () => ({ endpoint, keys }), unsubscribe: async () => ((own = null), true) };
      return own;
    };
"""
#: The same for the worker: what it would show is noted.
NOTING = """() => {
  self.shown = [];
  const note = async (title, { body, tag, data }) => self.shown.push([title, body, tag, data.view]);
  ServiceWorkerRegistration.prototype.showNotification = note;
}"""


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    if MOSQUITTO is None:
        pytest.skip(MISSING)
    with Broker(tmp_path_factory.mktemp("broker"), password="secret") as made:
        yield made


@pytest.fixture(scope="module")
def pushes(authority):
    made = PushService(authority / "server.pem")
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces, broker, authority):
    server = Server(
        tmp_path_factory.mktemp("web-rules"),
        camera="test:320x180@5",
        watch="off",
        webhook_allow="127.0.0.1",
        mqtt_url=f"mqtt://{broker.user}:secret@127.0.0.1:{broker.port}",
        mqtt_discovery="none",
    )
    server.put("Joe Biden/one.jpg", faces["biden"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))  # the push service's
        with server:
            yield server


@pytest.fixture(autouse=True)
def no_rules(server):
    for rule in server.get("/rules").json()["rules"]:
        assert server.request("DELETE", f"/rules/{rule['id']}").status_code == 200


def test_a_rule_is_made_read_back_tested_paused_changed_and_removed(visit, server, receiver):
    page = visit.open("#/live")
    page.get_by_role("button", name="Rules").click()
    page.get_by_role("heading", name="No rules yet").wait_for()
    page.get_by_text("A face is no key").wait_for()
    page.get_by_role("button", name="Add a rule").click()
    page.get_by_label("Who", exact=True).select_option("Certain people")
    page.get_by_label("Names", exact=True).fill("Joe Biden")
    page.keyboard.press("Enter")
    page.get_by_label("From", exact=True).fill("22:00")
    page.get_by_label("Until", exact=True).fill("06:00")
    page.get_by_label("Saturday").check()
    page.get_by_label("Then", exact=True).select_option("Call a webhook")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("Enter an address.").wait_for()
    page.get_by_label("Address").fill("ftp://x")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text="expected http:// or https://").wait_for()
    page.get_by_label("Address").fill(receiver.url)
    shown = page.locator("dialog .rule-words")
    assert shown.get_by_text("Only on Saturday.").is_visible() and shown.get_by_text("Only from 22:00 to 06:00.").is_visible()
    page.keyboard.press("Enter")
    row = page.locator(".rule")
    row.get_by_text(f"When Joe Biden comes to any camera, http://127.0.0.1:{receiver.port} is called.").wait_for()
    assert "token" not in page.content()

    row.get_by_role("button", name="Test").click()
    page.get_by_text("The test was carried out").wait_for()
    body = json.loads(receiver.taken[-1][1])
    assert body["test"] is True and body["event"]["subject"] == "Joe Biden"
    receiver.answers = [500]
    row.get_by_role("button", name="Test").click()
    page.locator(".toast.bad", has_text="500").wait_for()
    visit.said = [each for each in visit.said if "status of 502" not in each]  # the browser's own words about that answer

    row.get_by_label("On", exact=True).uncheck()
    page.locator(".rule.paused").wait_for()
    assert server.get("/rules").json()["rules"][0]["enabled"] is False
    row.get_by_label("On", exact=True).check()
    page.locator(".rule:not(.paused)").wait_for()

    row.get_by_role("button", name="Edit").click()
    page.get_by_label("When", exact=True).select_option("Somebody leaves")
    page.get_by_role("button", name="Remove Joe Biden").click()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Enter a name.").wait_for()
    page.get_by_label("Names", exact=True).fill("Nobody At All")
    page.get_by_role("button", name="Save").click()
    page.locator("dialog .field-error", has_text="enrolled").wait_for()
    page.get_by_label("Who", exact=True).select_option("Somebody unknown")
    page.get_by_role("button", name="Save").click()
    row.get_by_text("When somebody unknown leaves any camera").wait_for()
    row.get_by_role("button", name="Test").click()  # the address was kept
    page.get_by_text("The test was carried out").last.wait_for()
    assert json.loads(receiver.taken[-1][1])["event"]["kind"] == "left"

    row.get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="Remove this rule?").wait_for()
    page.locator(".dialog-foot").get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="No rules yet").wait_for()
    assert server.get("/rules").json()["rules"] == []


def test_a_rule_for_a_zone_follows_its_name_and_says_when_it_is_gone(visit, server):
    def zones(**names: float) -> None:
        said = [{"name": name, "points": [[0, top], [1, top], [1, 1]]} for name, top in names.items()]
        assert server.request("PUT", "/cameras/default/settings", json={"zones": said}).status_code == 200

    zones(Porch=0.1, Path=0.5)
    page = visit.open("#/rules")
    page.get_by_role("button", name="Add a rule").click()
    page.get_by_label("Camera: Porch").check()
    page.get_by_label("Then", exact=True).select_option("Publish an MQTT message")
    page.get_by_label("Topic").fill("home/porch")
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.locator(".rule")
    row.get_by_text("comes to Camera (only in Porch)").wait_for()
    assert server.get("/rules").json()["rules"][0]["zones"] == ["default/Porch"]
    zones(Steps=0.1, Path=0.5)  # the same area with another name
    row.get_by_text("comes to Camera (only in Steps)").wait_for()
    zones(Path=0.5)
    row.get_by_text("No longer there: Camera: Steps.").wait_for()
    row.get_by_text("none of its zones exists any longer").wait_for()
    row.get_by_role("button", name="Edit").click()
    assert page.get_by_label("Steps (no longer there)").is_checked()
    page.get_by_label("Camera: Path").check()
    page.get_by_role("button", name="Save").click()
    row.get_by_text("comes to Camera (only in Path and Steps)").wait_for()
    assert server.get("/rules").json()["rules"][0]["problem"] is None
    refused = server.post("/rules", json={"zones": ["default/attic"], "action": "mqtt", "topic": "a", "payload": "b"})
    assert code(refused) == "invalid_parameter" and "it has Path" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("size", "theme", "language", "gone", "said"),
    [
        (WIDE, "light", "en", "Yard (no longer there)", "No longer there: Yard. Nothing is reported from such cameras."),
        (PHONE, "dark", "ar", "Yard", "Yard"),
    ],
    ids=["wide-light-en", "phone-dark-ar"],
)
def test_a_camera_that_was_removed_stays_until_somebody_takes_it_out(chromium, server, size, theme, language, gone, said):
    yard = server.post("/cameras", data={"source": "test:320x180@5", "name": "Yard"}).json()["id"]
    given = {"cameras": ["default", yard], "action": "mqtt", "topic": "home/yard", "payload": "ON"}
    assert server.post("/rules", json=given).status_code == 201
    assert server.request("DELETE", f"/cameras/{yard}").status_code == 200
    with Visit(chromium, server.url, size=size, theme=theme, locale=language) as visit:
        page = visit.open("#/rules")
        row = page.locator(".rule")
        row.locator(".field-error", has_text=said).wait_for()
        visit.shoot("row")
        for taken_out, cameras in ((False, ["default", yard]), (True, ["default"])):
            row.locator(".button").nth(1).click()
            tick = page.get_by_label(gone)
            assert tick.is_checked()
            tick.scroll_into_view_if_needed()
            visit.shoot(f"form-{taken_out}")
            assert visit.overflow() <= 0 and visit.barriers() == []
            if taken_out:
                tick.uncheck()
            page.locator("dialog .button.primary").click()
            page.locator("dialog").wait_for(state="detached")
            assert server.get("/rules").json()["rules"][0]["cameras"] == cameras
        row.locator(".field-error", has_text=said).wait_for(state="detached")


@pytest.mark.parametrize(
    ("language", "said", "problem"),
    [
        ("en", "Url: expected SERVICE://..., such as ntfy://TOPIC.", "None of its cameras exists any longer."),
        ("de", "Geben Sie eine Adresse ein, die mit http:// oder https:// beginnt", "Keine ihrer Kameras gibt es noch."),
        ("ar", "أدخل عنوانًا يبدأ بـ", "لم تعد أي من كاميراتها موجودة."),
    ],
)
def test_refusals_and_problems_are_in_the_pages_language(chromium, server, language, said, problem):
    yard = server.post("/cameras", data={"source": "test:320x180@5", "name": "Yard"}).json()["id"]
    given = {"cameras": [yard], "action": "mqtt", "topic": "home/yard", "payload": "ON"}
    assert server.post("/rules", json=given).status_code == 201
    assert server.request("DELETE", f"/cameras/{yard}").status_code == 200
    with Visit(chromium, server.url, locale=language) as visit:
        page = visit.open("#/rules")
        shown = page.locator(".rule .field-error")
        shown.filter(has_text=problem).wait_for()
        page.locator(".view-head .button.primary").click()
        page.locator("#rule-url").fill("no address")
        page.locator("dialog .button.primary").click()
        page.locator("#rule-problem", has_text=said).wait_for()
        visit.shoot("refused")
        page.locator("#rule-url").fill("ntfy://x")
        page.locator("#rule-most").fill("0")
        page.locator("dialog .button.primary").click()
        page.locator("#rule-problem", has_text="600").wait_for()
        if language != "en":
            assert "expected" not in page.locator("#rule-problem").inner_text()
        assert page.locator("#rule-most").get_attribute("aria-invalid") == "true"
        assert page.locator(".field:has(#rule-most) #rule-problem").is_visible()  # where somebody looks
        visit.shoot("number")


def test_a_browser_is_notified_by_a_rule_and_removed(chromium, server, pushes):
    browser = Browser(pushes.url)
    with Visit(chromium, server.url, permissions=["notifications"], service_workers="allow") as visit:
        given = {"endpoint": browser.endpoint, "keys": {"p256dh": browser.p256dh, "auth": browser.auth}}
        visit.context.add_init_script(SUBSCRIBING % json.dumps(given))
        page = visit.open("#/rules")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.get_by_label("Notify this browser").check()
        page.get_by_role("button", name="Send a test").click()
        page.get_by_text("Sent: it appears in a moment.").wait_for()
        assert browser.read(pushes.taken[-1][2])["body"] == "Notifications work."
        page.get_by_label("Also when somebody new is among the strangers").check()
        server.wait_for(lambda: server.get("/push").json()["subscriptions"][0]["strangers"])

        page.get_by_role("button", name="Add a rule").click()
        page.get_by_label("Then", exact=True).select_option("Notify browsers")
        assert page.get_by_label("Address").is_hidden() and page.get_by_label("With the picture").is_hidden()
        page.get_by_role("button", name="Add", exact=True).click()
        row = page.locator(".rule")
        row.get_by_text("the subscribed browsers are notified").wait_for()
        row.get_by_role("button", name="Test").click()
        page.get_by_text("The test was carried out").wait_for()
        sent = browser.read(pushes.taken[-1][2])
        assert sent["title"] == "Recognizer: only a test" and sent["body"].startswith("Somebody unknown is at Camera (")

        worker = visit.context.service_workers[0]
        worker.evaluate(NOTING)
        tools = visit.context.new_cdp_session(page)
        found = []
        tools.on("ServiceWorker.workerRegistrationUpdated", lambda told: found.extend(told["registrations"]))
        tools.send("ServiceWorker.enable")
        server.wait_for(lambda: page.evaluate("1") and found)
        for data in (json.dumps(sent), "not of this server"):
            message = {"origin": server.url, "registrationId": found[0]["registrationId"], "data": data}
            tools.send("ServiceWorker.deliverPushMessage", message)
        server.wait_for(lambda: worker.evaluate("shown.length") == 2)
        shown = worker.evaluate("shown")
        assert [sent["title"], sent["body"], sent["tag"], "#/live"] in shown and ["Recognizer", "", None, None] in shown
        worker.evaluate(
            """() => {
              const notification = { close() {}, data: { view: "#/live" } };
              self.dispatchEvent(Object.assign(new ExtendableEvent("notificationclick"), { notification }));
            }"""
        )
        page.wait_for_url("**/#/live")

        page = visit.open("#/rules")
        page.get_by_label("Browsers that get notifications").get_by_role("button").click()
        page.locator(".dialog-foot").get_by_role("button", name="Remove").click()
        page.get_by_label("Browsers that get notifications").wait_for(state="detached")
        assert server.get("/push").json()["subscriptions"] == []
        wrong = server.post("/push/subscriptions", json={**given["keys"], "endpoint": "http://127.0.0.1:1/x"})
        assert code(wrong) == "invalid_parameter"
        assert code(server.request("DELETE", "/push/subscriptions/0123456789")) == "subscription_not_found"


def test_a_switch_is_made_with_the_keyboard_alone(visit, server, broker):
    listener = Listener(broker, "home/#")
    page = visit.open("#/rules")
    page.get_by_role("button", name="Add a rule").focus()
    with page.expect_response(lambda reply: reply.url.endswith("/rules")):
        pass  # what is read again leaves the keyboard where it is
    page.evaluate("new Promise(requestAnimationFrame)")
    page.keyboard.press("Enter")
    page.get_by_label("Then", exact=True).focus()
    page.keyboard.type("Publish")
    page.get_by_label("Topic").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type("recognizer/light")
    page.keyboard.press("Enter")
    page.locator("dialog .field-error", has_text="choose another one").wait_for()
    page.get_by_label("Topic").fill("home/light/set")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("OFF")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("30")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the broker keeps it
    page.get_by_label("Minutes after which it is no longer sent").fill("2.5")
    page.get_by_text("The broker keeps the last message for clients that connect later.").wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("“ON” is published to home/light/set, and “OFF” after 30 s").first.wait_for()
    page.get_by_role("button", name="Test").focus()
    page.keyboard.press("Enter")
    page.get_by_text("The test was carried out").wait_for()
    server.wait_for(lambda: listener.of("home/light/set") == [b"ON", b"OFF"])
    made = server.get("/rules").json()["rules"][0]
    assert (made["retain"], made["late_minutes"]) == (True, 2.5) and page.get_by_text(
        "Not more than 2.5 minutes late."
    ).is_visible()
    listener.close()


@pytest.mark.parametrize(
    ("size", "theme", "language"), [(PHONE, "dark", "ar"), (WIDE, "light", "de")], ids=["phone-dark-ar", "wide-light-de"]
)
def test_the_view_and_the_form_fit_and_axe_finds_no_barrier(chromium, server, size, theme, language):
    given = {"who": "people", "people": ["Joe Biden"], "action": "notify", "url": "ntfy://hidden-topic", "days": ["mon", "sun"]}
    assert server.post("/rules", json=given).status_code == 201
    with Visit(chromium, server.url, size=size, theme=theme, locale=language) as visit:
        page = visit.open("#/rules")
        page.locator(".rule").wait_for()
        assert visit.overflow() <= 0 and visit.barriers() == []
        page.locator(".rule .button").nth(1).click()
        page.locator("dialog .rule-words p").first.wait_for()
        visit.shoot("form")
        assert visit.overflow() <= 0 and visit.barriers() == [] and "hidden-topic" not in page.content()
        page.locator("dialog .button.primary").click()
        page.locator("dialog").wait_for(state="detached")
        page.locator(".view-head .button.primary, .empty .button.primary").first.click()
        page.locator("#rule-url").fill("ntfy://hidden-topic")
        page.locator("dialog .button.primary").click()
        page.locator("dialog").wait_for(state="detached")
    old, new = server.get("/rules").json()["rules"]
    # who wrote no text gets messages in the language of the page in which the rule was made
    assert (old["language"], new["language"], new["message"]) == ("en", language, None) and old["days"] == ["mon", "sun"]


def test_how_late_a_message_may_be_follows_what_the_rule_does(visit):
    page = visit.open("#/rules")
    page.get_by_role("button", name="Add a rule").click()
    late = page.get_by_label("Minutes after which it is no longer sent")
    assert late.input_value() == "1440"
    page.get_by_label("Then", exact=True).select_option("Publish an MQTT message")
    assert late.input_value() == "1"
    late.fill("3")
    page.get_by_label("Then", exact=True).select_option("Send a notification")
    assert late.input_value() == "3" and page.get_by_label("Language of the message").input_value() == "en"


def test_a_broker_of_the_environment_is_shown_and_cannot_be_changed_on_the_page(visit, server, broker):
    made = server.post("/rules", data={"who": "unknown", "action": "webhook", "url": "https://example.org/hook"})
    assert server.request("DELETE", f"/rules/{made.json()['id']}").status_code == 200
    page = visit.open("#/settings")
    card = page.locator("section", has=page.get_by_role("heading", name="Where events are sent"))
    card.get_by_text(f"mqtt://{broker.user}@127.0.0.1:{broker.port}").wait_for()
    card.get_by_text("Set in the environment by RECOGNIZER_MQTT_URL, and can only be changed there.").wait_for()
    assert card.get_by_role("button", name="Remove mqtt").count() == 0
    card.get_by_role("button", name="Change", exact=True).click()  # the beginning of topics
    assert page.get_by_label("All topics begin with").is_visible() and page.get_by_label("Host name or address").count() == 0
    visit.escape()
    card.get_by_role("button", name="Send a test to").click()
    page.get_by_text("The test event was sent and accepted").wait_for()
    assert code(server.request("PATCH", "/receivers", json={"mqtt_url": "none"})) == "setting_fixed"
    page.locator(".audit strong", has_text="Rule removed").first.wait_for()  # in words


def test_rules_over_http_refuse_what_is_wrong_and_show_no_secret(server, receiver):
    made = server.post("/rules", data={"who": "unknown", "action": "webhook", "url": receiver.url, "days": "sat,sun"})
    assert made.status_code == 201 and made.json()["url"] == f"http://127.0.0.1:{receiver.port}"
    id_ = made.json()["id"]
    for body, status, said in (
        ({"cameras": []}, 400, "invalid_parameter"),
        ({"cameras": ["attic"]}, 404, "camera_not_found"),
        ({"people": ["Nobody"], "who": "people"}, 404, "subject_not_found"),
        ({"group": "none-such", "who": "group"}, 404, "group_not_found"),
        ({"action": "mqtt", "topic": "recognizer/x", "payload": "1"}, 409, "action_off"),
        ({}, 400, "invalid_parameter"),
    ):
        reply = server.request("PATCH", f"/rules/{id_}", json=body)
        assert (reply.status_code, code(reply)) == (status, said), reply.text
    changed = server.request("PATCH", f"/rules/{id_}", json={"days": "all", "start": "08:00", "end": "17:00"}).json()
    assert (changed["days"], changed["start"]) == ([], "08:00")
    cleared = server.request("PATCH", f"/rules/{id_}", json={"start": "none", "end": "none"}).json()
    assert cleared["start"] is None and cleared["counts"]["delivered"] == 0
    assert server.post(f"/rules/{id_}/test").json() == {"tested": id_, "action": "webhook"}
    listed = server.get("/rules").json()
    assert listed["off"] is None and listed["broker"].startswith("mqtt://127.0.0.1") and "photo" in listed["notice"]
    assert "token" not in json.dumps(listed) + server.log()
    shown = server.cli("--json", "rules")
    assert json.loads(shown.stdout)["rules"][0]["id"] == id_ and "token" not in shown.output
    assert server.request("DELETE", f"/rules/{id_}").json() == {"deleted": id_}
    assert code(server.request("DELETE", f"/rules/{id_}")) == "rule_not_found"
