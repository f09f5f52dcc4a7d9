// The section of Settings that says where all events are sent: webhooks and an MQTT broker, changed and tested while the server runs.

import { button, confirm, copy, dialog, el, fill, icon, toast, toggle } from "./dom.js";
import { api, explain } from "./api.js";
import { language, listed, mixed, n, t } from "./i18n.js";
import { REFUSALS } from "./refusals.js";

const EVERY = 5000;
const KINDS = {
  appeared: t("Somebody with a name comes"), unknown: t("Somebody unknown comes"), left: t("Somebody leaves"), entered: t("Somebody enters a zone"), camera_live: t("A camera is live"),
  camera_lost: t("A camera is disconnected"), camera_frozen: t("A camera's picture is frozen"), camera_ended: t("A recording has ended"),
};
const LEAST_SECRET = 24; // bytes of a secret that is made here

/** Returns the section's node and a promise for its first content; `changed` is called after each change. */
export function receiversSection(signal, changed) {
  const webhooks = el("div", { class: "stack" });
  const mqtt = el("div", { class: "stack" });
  const others = el("ul", { class: "receivers", "aria-label": t("Other receivers") });
  const off = el("div");
  const node = el("section", { class: "card stack", "aria-labelledby": "receivers-title" },
    el("h2", { id: "receivers-title" }, t("Where events are sent")),
    el("p", { class: "muted" }, mixed("Everything that happens at the cameras is sent there. For a message about certain people, places or times, by phone or e-mail, make a {rule}.", { rule: el("a", { href: "#/rules" }, t("rule")) })),
    off, webhooks, mqtt, others,
    el("p", { class: "muted small" }, t("Set in the server's environment, see below: AMQP, Kafka, NATS and Frigate, private addresses that webhooks may reach, and an authority of your own for TLS.")));
  let now; // what the server said last
  let drawn;

  const load = async () => draw(await api("/receivers", { signal }));
  const failed = (error) => error.name === "AbortError" || fill(off, el("p", { class: "field-error", role: "alert" }, explain(error)));

  function draw(said) {
    now = said;
    if (JSON.stringify(said) === drawn) return; // the buttons stay, and with them the keyboard's place
    drawn = JSON.stringify(said);
    const place = document.activeElement?.dataset?.place;
    fill(off, said.off && el("p", { class: "notice warn" }, icon("warning"), el("span", null, t("No events are recorded, so none are sent: RECOGNIZER_EVENTS is off."))));
    drawWebhooks();
    drawMqtt();
    others.hidden = !said.others.length;
    fill(others, said.others.map((each) => el("li", null, el("div", { class: "receiver-about" }, el("code", null, each.name), stateWords(each.state)))));
    if (place && node.isConnected) node.querySelector(`[data-place="${place}"]`)?.focus();
  }

  const fixedNote = (names) => {
    const places = [...new Set(names.map((name) => now.fixed[name]).filter(Boolean))];
    return places.map((each) => el("p", { class: "muted small" }, /^RECOGNIZER_\w+$/.test(each) ? mixed("Set in the environment by {variable}, and can only be changed there.", { variable: el("code", null, each) }) : each));
  };

  function drawWebhooks() {
    const add = !now.fixed.webhooks && button(t("Add a webhook"), addWebhook, { icon: "add", class: "little", data: { place: "add" } });
    const what = now.webhooks.length > 0 && !(now.fixed.webhook_events && now.fixed.webhook_secret) && button(t("What is sent"), chooseKinds, { icon: "edit", class: "little", data: { place: "what" } });
    const kinds = kindNames().filter(([kind]) => now.webhook_events.includes(kind)).map(([, words]) => words);
    fill(webhooks,
      el("h3", null, t("Webhooks")),
      now.webhooks.length === 0 && el("p", { class: "muted" }, t("None. A webhook is a web address that gets each event as JSON.")),
      now.webhooks.length > 0 && el("ul", { class: "receivers", "aria-label": t("Webhooks") }, now.webhooks.map((each) => el("li", null,
        el("div", { class: "receiver-about" }, el("code", null, each.url), stateWords(each.state)),
        el("div", { class: "row" }, testButton(each.id, each.url),
          !now.fixed.webhooks && button(t("Remove"), () => removeWebhook(each), { icon: "trash", class: "little", "aria-label": t("Remove {name}", { name: each.url }), data: { place: `remove-${each.id}` } }))))),
      now.webhooks.length > 0 && el("p", { class: "muted small" }, now.webhook_events.length ? t("Sent: {kinds}.", { kinds: listed(kinds) }) : t("Every kind of event is sent."), " ", now.webhook_signed ? t("Requests are signed with your secret.") : t("Requests are not signed: anybody who knows the address can send false ones.")),
      (add || what) && el("div", { class: "row" }, add, what), fixedNote(["webhooks", "webhook_secret", "webhook_events"]));
  }

  function drawMqtt() {
    const broker = now.mqtt;
    const fixed = (...names) => names.every((name) => now.fixed[name]);
    const change = (text, name) => !fixed("mqtt_url", "mqtt_prefix", "mqtt_discovery", "mqtt_double_take") && button(text, editBroker, { icon: name, class: "little", data: { place: "broker" } });
    fill(mqtt,
      el("h3", null, t("MQTT broker")),
      !broker && el("p", { class: "muted" }, t("None. With a broker, Home Assistant finds cameras and people by itself, and rules can switch things.")),
      broker && el("div", { class: "receivers" }, el("div", { class: "receiver-about" }, el("code", null, broker.url), stateWords(broker.state),
        el("span", { class: "muted small" }, now.mqtt_discovery === "none" ? t("Topics begin with {prefix}. Home Assistant is not told.", { prefix: now.mqtt_prefix }) : t("Topics begin with {prefix}. Home Assistant finds them by itself.", { prefix: now.mqtt_prefix })))),
      el("div", { class: "row" }, broker && testButton("mqtt", broker.url), change(broker ? t("Change") : t("Connect a broker"), broker ? "edit" : "add"),
        broker && !now.fixed.mqtt_url && button(t("Remove"), removeBroker, { icon: "trash", class: "little", "aria-label": t("Remove {name}", { name: broker.url }), data: { place: "remove-mqtt" } })),
      fixedNote(["mqtt_url", "mqtt_prefix", "mqtt_discovery", "mqtt_double_take"]));
  }

  const testButton = (id, name) => button(t("Send a test"), () => test(id), { icon: "bolt", class: "little", "aria-label": t("Send a test to {name}", { name }), data: { place: `test-${id}` } });

  async function test(id) {
    try {
      await api(`/receivers/${encodeURIComponent(id)}/test`, { method: "POST" });
      toast(t("The test event was sent and accepted"), { kind: "good" });
    } catch (error) {
      toast(explain(error), { kind: "bad" });
    }
  }

  /** Stores changes; throws what the server refuses. */
  async function store(json, said) {
    draw(await api("/receivers", { method: "PATCH", json }));
    changed();
    if (said) toast(said);
  }

  const stored = (json, said) => store(json, said).catch((error) => toast(explain(error), { kind: "bad" }));
  const kindNames = () => now.event_kinds.map((kind) => [kind, KINDS[kind] ?? kind]);
  const kept = (without) => now.webhooks.filter((each) => each.id !== without).map((each) => each.id);

  async function removeWebhook(each) {
    if (await confirm(t("Remove this webhook?"), t("{name} gets no more events.", { name: each.url }), t("Remove"))) await stored({ webhooks: kept(each.id) }, t("The webhook was removed"));
  }

  async function removeBroker() {
    if (await confirm(t("Remove the broker?"), t("Nothing is published any more, and what the broker kept of people and cameras is taken back. Rules that publish stop working."), t("Remove"))) await stored({ mqtt_url: "none" }, t("The broker was removed"));
  }

  const addWebhook = () => ask(t("Add a webhook"), t("Add"), (form) => [
    form.field("webhooks", t("Address"), el("input", { type: "url", placeholder: "https://", autocomplete: "off", spellcheck: "false", required: true }), t("It may contain a secret, and is not shown in full again.")),
  ], async (form) => {
    const url = form.value("webhooks");
    if (!url) return form.refuse("webhooks", t("Enter an address."));
    await store({ webhooks: [...kept(), url] }, t("The webhook was added; it gets events from now on"));
    return true;
  });

  function chooseKinds() {
    const chosen = now.webhook_events.length ? now.webhook_events : now.event_kinds;
    const boxes = kindNames().map(([kind, words]) => el("label", { class: "rule-tick" }, el("input", { type: "checkbox", value: kind, checked: chosen.includes(kind) }), el("span", null, words)));
    const kinds = el("fieldset", { class: "rule-ticks column" }, el("legend", null, t("Kinds of events")), boxes);
    const secret = el("input", { autocomplete: "off", spellcheck: "false", autocapitalize: "off", placeholder: now.webhook_signed ? t("unchanged") : "" });
    let unsigned = false;
    const make = button(t("Make one"), () => {
      secret.value = `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(LEAST_SECRET))))}`;
      copy(secret.value);
    }, { class: "little" });
    return ask(t("What is sent"), t("Save"), (form) => [
      !now.fixed.webhook_events && kinds,
      !now.fixed.webhook_secret && form.field("webhook_secret", t("Secret that signs requests"), secret, t("The receiver checks with it that a request is from this server. It is not shown again: copy it there first.")),
      !now.fixed.webhook_secret && el("div", { class: "row" }, make, now.webhook_signed && toggle(t("No longer sign"), false, (on) => ((unsigned = on), (secret.disabled = make.disabled = on)))),
    ], async (form) => {
      const json = {};
      if (!now.fixed.webhook_events) {
        const wanted = [...kinds.querySelectorAll("input:checked")].map((each) => each.value);
        if (!wanted.length) return form.refuse("", t("Choose at least one kind."));
        json.webhook_events = wanted.length === now.event_kinds.length ? ["all"] : wanted;
      }
      if (unsigned) json.webhook_secret = "none";
      else if (secret.value.trim()) json.webhook_secret = secret.value.trim();
      await store(json, t("Saved"));
      return true;
    });
  }

  function editBroker() {
    const old = now.mqtt && new URL(now.mqtt.url.replace(/^mqtt/, "http")); // browsers take "mqtt:" apart in different ways
    let tls = now.mqtt?.url.startsWith("mqtts:") ?? false;
    let announced = now.mqtt_discovery !== "none";
    let twice = now.mqtt_double_take;
    const text = (value, props) => el("input", { autocomplete: "off", spellcheck: "false", autocapitalize: "off", value, ...props });
    const port = text(old ? old.port || (tls ? "443" : "80") : "1883", { inputmode: "numeric", pattern: "\\d{1,5}" });
    const secure = toggle(t("TLS"), tls, (on) => {
      tls = on;
      if (["1883", "8883"].includes(port.value)) port.value = on ? "8883" : "1883";
    });
    return ask(t("MQTT broker"), t("Save"), (form) => [
      !now.fixed.mqtt_url && [
        el("div", { class: "rule-pair" }, form.field("mqtt_url", t("Host name or address"), text(old ? old.hostname.replace(/^\[|\]$/g, "") : "", { placeholder: "192.168.1.5", required: true })), form.field("port", t("Port"), port)),
        secure,
        el("div", { class: "rule-pair" }, form.field("user", t("User"), text(old ? decodeURIComponent(old.username) : "")), form.field("mqtt_password", t("Password"), el("input", { type: "password", autocomplete: "new-password", placeholder: now.mqtt?.password ? t("unchanged") : "" }))),
      ],
      !now.fixed.mqtt_prefix && form.field("mqtt_prefix", t("All topics begin with"), text(now.mqtt_prefix), t("Two servers on one broker need two different beginnings.")),
      !now.fixed.mqtt_discovery && toggle(t("Let Home Assistant find cameras and people"), announced, (on) => (announced = on)),
      !now.fixed.mqtt_double_take && toggle(t("Publish Double Take's topics as well"), twice, (on) => (twice = on)),
    ], async (form) => {
      const json = {};
      if (!now.fixed.mqtt_url) {
        const host = form.value("mqtt_url");
        if (!host) return form.refuse("mqtt_url", t("Enter an address."));
        if (!/^\d{1,5}$/.test(port.value.trim()) || Number(port.value) < 1 || Number(port.value) > 65535) return form.refuse("port", t("Enter a number from 1 to 65535."));
        const user = form.value("user");
        json.mqtt_url = `${tls ? "mqtts" : "mqtt"}://${user ? `${encodeURIComponent(user)}@` : ""}${host.includes(":") ? `[${host}]` : host}:${port.value.trim()}`;
        const password = form.fields.mqtt_password.value;
        if (password) json.mqtt_password = password;
        else if (!user) json.mqtt_password = "none";
      }
      if (!now.fixed.mqtt_prefix) json.mqtt_prefix = form.value("mqtt_prefix");
      if (!now.fixed.mqtt_discovery && announced !== (now.mqtt_discovery !== "none")) json.mqtt_discovery = announced ? "homeassistant" : "none";
      if (!now.fixed.mqtt_double_take) json.mqtt_double_take = twice;
      await store(json, t("Saved: whether it connects is said on this page"));
      setTimeout(() => load().catch(() => {}), 1500);
      return true;
    });
  }

  const ready = load().catch(failed);
  const timer = setInterval(() => document.hidden || load().catch(() => {}), EVERY); // the next one may succeed
  signal.addEventListener("abort", () => clearInterval(timer));
  return { node, ready };
}

function stateWords(state) {
  if (!state) return el("span", { class: "muted small" }, t("Another process of this server delivers to it."));
  if (/^not connected yet$/.test(state.problem)) return el("span", { class: "muted small" }, t("Connecting"));
  if (state.problem) return el("span", { class: "field-error", title: state.problem }, t("It does not work: {reason}", { reason: language === "en" ? state.problem : REFUSALS.action_failed }));
  return el("span", { class: "muted small" }, [
    n(state.delivered, "{count} event sent", "{count} events sent"), state.waiting > 0 && n(state.waiting, "{count} waiting", "{count} waiting"), state.dropped > 0 && n(state.dropped, "{count} given up", "{count} given up"),
  ].filter(Boolean).join(" · "));
}

/** A dialog with a form. `content(form)` returns its nodes; `send(form)` resolves with true when the dialog may close. */
function ask(title, sure, content, send) {
  const problem = el("p", { id: "receiver-problem", class: "field-error", role: "alert" });
  const form = {
    fields: {},
    field(name, label, node, help) {
      node.id = `receiver-${name}`;
      node.setAttribute("aria-describedby", help ? `receiver-${name}-help receiver-problem` : "receiver-problem");
      form.fields[name] = node;
      return el("div", { class: "field" }, el("label", { for: node.id }, label), node, help && el("p", { id: `receiver-${name}-help`, class: "muted small" }, help));
    },
    value: (name) => form.fields[name]?.value.trim() ?? "",
    refuse(name, words) {
      problem.textContent = words;
      form.fields[name]?.setAttribute("aria-invalid", "true");
      form.fields[name]?.focus();
    },
  };
  let save;
  const submit = async (close) => {
    problem.textContent = "";
    for (const node of Object.values(form.fields)) node.removeAttribute("aria-invalid");
    save.disabled = true;
    try {
      if (await send(form)) close(true);
    } catch (error) {
      const private_ = error.code === "address_refused";
      const about = private_ || error.code === "invalid_url" ? Object.keys(form.fields)[0] : /^(\w+):/.exec(error.message)?.[1];
      const again = about === "mqtt_password" && /again/.test(error.message);
      form.refuse(about, private_ ? t("This address is not allowed. Private ones are where RECOGNIZER_WEBHOOK_ALLOW lists them.") : again ? t("Enter the password again: it would go to another broker.") : explain(error));
    } finally {
      save.disabled = false;
    }
  };
  return dialog(
    title,
    (close) => {
      const node = el("form", { class: "stack", novalidate: true }, content(form), problem);
      node.addEventListener("submit", (event) => (event.preventDefault(), submit(close)));
      node.append(el("button", { type: "submit", hidden: true, tabindex: "-1", "aria-hidden": "true" }));
      return node;
    },
    (close) => [button(t("Cancel"), () => close()), (save = button(sure, () => submit(close), { kind: "primary" }))],
  );
}
