// The dialog in which a rule is made or changed, in plain words; what it will do is read back below.

import { button, dialog, el, fill, icon, toggle } from "./dom.js";
import { api, explain } from "./api.js";
import { language, LANGUAGES, mixed, t } from "./i18n.js";
import { DAYS, dayName, LATE, NOTICE, ruleWords, usualMessage, zoneParts } from "./rule-words.js";

const TYPING = 250;
const NEW = {
  kind: "comes", who: "unknown", people: [], group: "default", cameras: [], zones: [], days: [], start: null, end: null, sure: "likely",
  apart_minutes: 5, most_per_hour: 60, action: "notify", url: "", message: null, picture: false, topic: "", payload: "ON", off_payload: null, off_seconds: 0, retain: false, language,
};
const EXAMPLES = ["ntfy://my-secret-topic", "home/light/set"];
const KINDS = [["comes", t("Somebody comes")], ["leaves", t("Somebody leaves")]];
const WHO = [
  ["people", t("Certain people")], ["group", t("Everybody of a group")], ["known", t("Anybody with a name")], ["unknown", t("Somebody unknown")], ["anybody", t("Anybody")],
];
const SURE = [["likely", t("Anybody who gets a name")], ["sure", t("Only if the name is sure")]];
const ACTIONS = [["notify", t("Send a notification")], ["push", t("Notify browsers")], ["webhook", t("Call a webhook")], ["mqtt", t("Publish an MQTT message")]];
/** Field of the API -> the element that a message about it belongs to. */
const ABOUT = { people: "people", group: "group", start: "start", end: "end", url: "url", message: "message", topic: "topic", payload: "payload", off_payload: "off", off_seconds: "seconds", apart_minutes: "apart", most_per_hour: "most", late_minutes: "late" };

/** Makes a rule, or changes `rule`. `known`: {cameras, names, zones, groups, canNotify, browsers, broker}; `names` has cameras that were removed as well. Resolves with the rule as stored, or undefined. */
export function editRule(rule, known) {
  const now = { late_minutes: LATE[rule?.action ?? NEW.action], ...NEW, ...rule };
  const id = (name) => `rule-${name}`;
  const problem = el("p", { id: id("problem"), class: "field-error", role: "alert" });
  const words = el("div", { class: "rule-words", role: "status" });
  const fields = {};
  const draw = () => {
    const before = LATE[now.action];
    take();
    if (now.late_minutes === before) fields.late.value = String((now.late_minutes = LATE[now.action]));
    for (const [name, node] of Object.entries(parts)) if (node) node.hidden = !SHOWN[name](now);
    showZones();
    for (const node of parts.notify.querySelectorAll("[data-only]")) node.hidden = node.dataset.only !== now.action;
    hint.hidden = !(missing.textContent = lack());
    fill(words, ruleWords({ ...now, url: now.url || rule?.url }, known.names).map((each) => el("p", null, each)));
  };
  const field = (name, label, node, ...more) => {
    node.id = id(name);
    node.setAttribute("aria-describedby", id("problem"));
    node.addEventListener("input", draw);
    fields[name] = node;
    return el("div", { class: "field" }, el("label", { for: id(name) }, label), node, more);
  };
  const choice = (name, label, options, value) => {
    const node = el("select", null, options.map(([key, text]) => el("option", { value: key }, text)));
    node.value = value;
    return field(name, label, node);
  };
  const text = (name, label, value, props, ...more) => field(name, label, el("input", { autocomplete: "off", spellcheck: "false", autocapitalize: "off", value: value ?? "", ...props }), more);
  const count = (name, label, value, props) => field(name, label, el("input", { type: "number", step: "any", min: "0", value: String(value), ...props }));
  const ticks = (label, help, options, chosen) => {
    const boxes = options.map(([value, name]) => {
      const box = el("input", { type: "checkbox", value, checked: chosen.includes(value), on: { change: draw } });
      return el("label", { class: "rule-tick" }, box, el("span", null, name));
    });
    const node = el("fieldset", { class: "rule-ticks" }, el("legend", null, label), el("p", { class: "muted small" }, help), boxes);
    return [node, () => [...node.querySelectorAll("input:checked")].map((each) => each.value)];
  };

  const chosen = new Set(now.people);
  const chips = el("ul", { class: "rule-people", "aria-label": t("Chosen people") });
  const drawPeople = () => {
    fill(chips, [...chosen].map((name) => el("li", { class: "tag" }, el("span", null, name), button("", () => (chosen.delete(name), drawPeople(), draw(), fields.people.focus()), { icon: "close", kind: "quiet", class: "little", label: t("Remove {name}", { name }) }))));
  };
  const offered = el("datalist", { id: id("offered") });
  let typing;
  const person = el("input", { list: id("offered"), autocomplete: "off", spellcheck: "false", placeholder: t("Name") });
  const choose = () => {
    const name = person.value.trim();
    if (!name) return;
    chosen.add(name);
    person.value = "";
    drawPeople();
    draw();
  };
  person.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), choose()));
  person.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(async () => {
      const query = { search: person.value.trim(), limit: 12, group: now.group === "default" ? undefined : now.group };
      const found = await api("/people", { query }).catch(() => ({ people: [] })); // names can be typed without it
      fill(offered, found.people.map((each) => el("option", { value: each.name })));
    }, TYPING);
  });
  const cameras = ticks(t("Where"), t("None chosen: every camera."), [...known.cameras, ...lostCameras(now, known)], now.cameras);
  const areas = zoneTicks(ticks, now, known);
  const days = ticks(t("Days"), t("None chosen: every day."), DAYS.map((day) => [day, dayName(day)]), now.days);
  const missing = el("span");
  const hint = el("p", { class: "notice warn" }, icon("warning"), missing);
  const lack = () => (now.action === "push" && !known.browsers ? t("No browser gets notifications yet: switch on “Notify this browser” below the rules.") : now.action === "notify" && !known.canNotify ? t("The server lacks the package Apprise, which sends notifications: docs/rules.md.") : now.action === "mqtt" && !known.broker ? t("There is no MQTT broker yet: connect one under Settings.") : "");
  const keep = rule?.url && el("p", { class: "muted small" }, t("Leave empty to keep the current address."));
  const example = el("code", null, EXAMPLES[0]);

  const groups = known.groups.map((each) => [each.name, each.default ? t("Everybody (known_faces)") : each.name]);
  if (!groups.some(([name]) => name === now.group)) groups.push([now.group, gone(now.group)]);
  const who = choice("who", t("Who"), WHO, now.who);
  const parts = {
    group: groups.length > 1 ? choice("group", t("Group"), groups, now.group) : null,
    people: el("div", { class: "stack" }, field("people", t("Names"), person, offered), el("div", { class: "row" }, button(t("Add this name"), choose, { icon: "add", class: "little" })), chips),
    sure: choice("sure", t("How sure"), SURE, now.sure),
    url: text("url", t("Address"), "", { type: "url", placeholder: rule?.url ?? "", autocomplete: "off" }, keep),
    notify: el("div", { class: "stack" },
      el("p", { class: "muted small", data: { only: "push" } }, t("Every browser shows it in which “Notify this browser” is on, also on a locked screen. It has a name only if you write {who} below.", { who: "{who}" })),
      el("p", { class: "muted small", data: { only: "notify" } }, mixed("As Apprise writes it, such as {example}: phones, e-mail and a hundred other services. Whoever knows a public topic can read it.", { example })),
      text("message", t("Message"), now.message, { maxlength: "500", placeholder: usualMessage(now) }, el("p", { class: "muted small" }, t("{who}, {camera}, {zone} and {time} are filled in."))),
      choice("language", t("Language of the message"), Object.entries(LANGUAGES), now.language),
      el("div", { data: { only: "notify" } }, toggle(t("With the picture of the face"), now.picture, (on) => ((now.picture = on), draw())))),
    webhook: el("p", { class: "muted small" }, t("It gets the event as JSON.")),
    mqtt: el("div", { class: "stack" },
      text("topic", t("Topic"), now.topic, { placeholder: EXAMPLES[1] }), text("payload", t("What is published"), now.payload),
      el("div", { class: "rule-pair" }, text("off", t("What is published later, if anything"), now.off_payload, { placeholder: "OFF" }), count("seconds", t("After how many seconds"), now.off_seconds)),
      toggle(t("Let the broker keep it for clients that connect later"), now.retain, (on) => ((now.retain = on), draw()))),
  };
  const SHOWN = {
    group: (it) => ["people", "group"].includes(it.who), people: (it) => it.who === "people", sure: (it) => it.who !== "unknown",
    url: (it) => hasAddress(it), notify: (it) => ["notify", "push"].includes(it.action), webhook: (it) => it.action === "webhook", mqtt: (it) => it.action === "mqtt",
  };

  /** Zones of a camera that is not chosen are not offered. */
  function showZones() {
    const boxes = [...areas[0].querySelectorAll("input")];
    for (const box of boxes) box.parentNode.hidden = now.cameras.length > 0 && !now.cameras.includes(zoneParts(box.value)[0]);
    areas[0].hidden = boxes.every((box) => box.parentNode.hidden);
  }

  /** Reads the form into `now`. */
  function take() {
    const value = (name) => fields[name]?.value.trim() ?? "";
    Object.assign(now, {
      kind: value("kind"), who: value("who"), people: [...chosen], group: fields.group ? value("group") : now.group, sure: value("sure"), cameras: cameras[1](), days: days[1](),
      start: value("start") || null, end: value("end") || null, apart_minutes: Number(value("apart")), most_per_hour: Number(value("most")), action: value("action"), url: value("url"),
      message: value("message") || null, topic: value("topic"), payload: fields.payload.value, off_payload: fields.off.value || null, off_seconds: fields.off.value ? Number(value("seconds")) : 0, late_minutes: Number(value("late")), language: value("language"),
    });
    fields.message.placeholder = now.language === language ? usualMessage(now) : "";
    const ticked = cameras[1]();
    const zones = areas[1]().filter((zone) => !ticked.length || ticked.includes(zoneParts(zone)[0]));
    Object.assign(now, { zones, cameras: ticked.length ? ticked : [...new Set(zones.map((zone) => zoneParts(zone)[0]))] });
  }

  /** The rule as the API takes it. */
  function said() {
    const { kind, who: whom, group, people, sure, apart_minutes, most_per_hour, late_minutes, action } = now;
    const given = { kind, who: whom, sure, apart_minutes, most_per_hour, late_minutes, action, cameras: now.cameras.length ? now.cameras : ["all"], zones: now.zones.length ? now.zones : ["all"], days: now.days.length ? now.days : ["all"] };
    Object.assign(given, { start: now.start ?? "none", end: now.end ?? "none", timezone: Intl.DateTimeFormat().resolvedOptions().timeZone });
    if (whom === "people" || whom === "group") given.group = group;
    if (whom === "people") given.people = people;
    if (action === "mqtt") return { ...given, topic: now.topic, payload: now.payload, retain: now.retain, off_payload: now.off_payload ?? "none", off_seconds: now.off_seconds };
    if (action === "push") return { ...given, message: now.message ?? "none", language: now.language };
    if (now.url) given.url = now.url;
    if (action === "notify") Object.assign(given, { picture: now.picture, message: now.message ?? "none", language: now.language });
    return given;
  }

  let save, form;
  const send = async (close) => {
    choose();
    take();
    problem.textContent = "";
    for (const node of Object.values(fields)) node.removeAttribute("aria-invalid");
    const refuse = (name, words) => {
      const node = fields[name];
      const seen = node && node.offsetParent !== null;
      (seen ? node.closest(".field") : form).append(problem); // the form is longer than the window: the words are where the eyes are
      problem.textContent = words;
      if (seen) (node.setAttribute("aria-invalid", "true"), node.focus());
      else problem.scrollIntoView({ block: "nearest" });
    };
    if (now.who === "people" && !now.people.length) return refuse("people", t("Enter a name."));
    if (hasAddress(now) && !now.url && !(rule?.url && rule.action === now.action)) return refuse("url", t("Enter an address."));
    if (now.action === "mqtt" && !now.topic) return refuse("topic", t("Enter a topic."));
    save.disabled = true;
    try {
      close(rule ? await api(`/rules/${encodeURIComponent(rule.id)}`, { method: "PATCH", json: said() }) : await api("/rules", { json: said() }));
    } catch (error) {
      const about = error.code === "subject_not_found" ? "people" : ABOUT[/^(\w+):/.exec(error.message)?.[1]];
      refuse(about, explain(error));
    } finally {
      save.disabled = false;
    }
  };

  return dialog(
    rule ? t("Edit rule") : t("Add a rule"),
    (close) => {
      form = el(
        "form", { class: "stack", novalidate: true },
        el("p", { class: "notice warn" }, icon("warning"), el("span", null, NOTICE)),
        choice("kind", t("When"), KINDS, now.kind), who, parts.group, parts.people, parts.sure, cameras[0], areas[0], days[0],
        el("div", { class: "rule-pair" }, field("start", t("From"), el("input", { type: "time", value: now.start ?? "" })), field("end", t("Until"), el("input", { type: "time", value: now.end ?? "" }))),
        choice("action", t("Then"), ACTIONS, now.action), hint, parts.url, parts.notify, parts.webhook, parts.mqtt,
        el("div", { class: "rule-pair" }, count("apart", t("Minutes between two messages about the same person"), now.apart_minutes, { max: "10080" }), count("most", t("Messages an hour, at most"), now.most_per_hour, { min: "1", max: "600", step: "1" })),
        count("late", t("Minutes after which it is no longer sent"), now.late_minutes, { min: "0.1", max: "10080" }),
        words, problem,
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), send(close)));
      form.append(el("button", { type: "submit", hidden: true, tabindex: "-1", "aria-hidden": "true" }));
      drawPeople();
      draw();
      return form;
    },
    (close) => [button(t("Cancel"), () => close()), (save = button(rule ? t("Save") : t("Add"), () => send(close), { kind: "primary" }))],
    { wide: true },
  );
}

const hasAddress = ({ action }) => ["notify", "webhook"].includes(action);

/** What a rule names although it was removed: it stays in the rule until somebody takes it out. */
const gone = (place) => t("{place} (no longer there)", { place });

const lostCameras = (rule, known) => rule.cameras.filter((id) => !known.cameras.has(id)).map((id) => [id, gone(known.names.get(id) ?? id)]);

/** Boxes for the zones of all cameras, and for those of the rule that are no longer there. */
function zoneTicks(ticks, now, known) {
  const there = [...known.zones].flatMap(([id, zones]) => zones.map((zone) => [`${id}/${zone}`, t("{camera}: {zone}", { camera: known.cameras.get(id), zone })]));
  const lost = (now.lost_zones ?? []).map((each) => [each, gone(zoneParts(each)[1])]);
  return ticks(t("Zones"), t("None chosen: the whole picture."), [...there, ...lost], now.zones);
}
