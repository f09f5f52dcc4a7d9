// Rules: what happens when people come or go at the cameras. Each is read back in words, can be tested, paused, changed and removed.

import { button, confirm, el, empty, fill, icon, toast, toggle } from "./dom.js";
import { api, explain, told as said } from "./api.js";
import { listed, n, t } from "./i18n.js";
import { notifyCard } from "./notify.js";
import { editRule } from "./rule-form.js";
import { NOTICE, ruleWords, zoneParts } from "./rule-words.js";
import { moment, when } from "./times.js";

export const title = t("Rules");

const EVERY = 5000;

export async function show(main, { signal }) {
  const known = { cameras: new Map(), names: new Map(), zones: new Map(), groups: [], canNotify: true, browsers: 0, broker: null };
  const list = el("ul", { class: "rules" });
  const nothing = el("div");
  const rows = new Map(); // id -> {text, fresh}
  const add = button(t("Add a rule"), () => edit(null), { icon: "add", kind: "primary" });
  add.hidden = true; // until it is known whether there are rules: without any, the empty list has this button
  let lack; // why nothing is listed, as it is shown
  fill(
    main,
    el("div", { class: "view-head" },
      el("div", null, el("span", null, el("a", { class: "back", href: "#/live" }, icon("back"), el("span", null, t("Live"))), el("h1", null, t("Rules"))), el("p", null, t("What happens when somebody comes or leaves"))),
      add),
    el("p", { class: "notice warn" }, icon("warning"), el("span", null, NOTICE)),
    nothing, list, notifyCard({ signal, changed: (count) => (known.browsers = count) }),
  );

  async function load() {
    const [found, held, { groups }] = await Promise.all([api("/rules", { signal }), api("/cameras", { signal }), api("/groups", { signal })]);
    const names = new Map([...held.removed, ...held.cameras].map((each) => [each.id, each.name]));
    Object.assign(known, { names, cameras: new Map(held.cameras.map((each) => [each.id, each.name])), zones: new Map(held.cameras.map((each) => [each.id, each.zones])), groups, canNotify: found.can_notify, broker: found.broker });
    add.hidden = found.off !== null || found.rules.length === 0;
    draw(found);
  }

  function draw({ rules, off }) {
    const lacks = off !== null ? "off" : rules.length === 0 ? "none" : "";
    if (lacks === lack) return drawRows(rules); // the button stays, and with it the keyboard's place
    lack = lacks;
    if (lacks === "off") fill(nothing, empty("bolt", t("Rules cannot be used here"), t("Events are switched off, or several servers share a database.")));
    else if (lacks === "none") fill(nothing, empty("bolt", t("No rules yet"), t("A rule sends a message to your phone, calls another program or switches something."), button(t("Add a rule"), () => edit(null), { icon: "add", kind: "primary" })));
    else fill(nothing);
    drawRows(rules);
  }

  function drawRows(rules) {
    const there = new Set(rules.map((each) => each.id));
    for (const [id, { node }] of rows) if (!there.has(id)) (node.remove(), rows.delete(id));
    for (const rule of rules) {
      const row = rows.get(rule.id) ?? newRow();
      rows.set(rule.id, row);
      row.tell(rule);
      if (!row.node.isConnected) list.append(row.node);
    }
  }

  /** A row keeps its buttons while it is drawn anew, so that the keyboard's place stays. */
  function newRow() {
    let rule;
    const words = el("div", { class: "rule-words" });
    const state = el("p", { class: "muted small" });
    const trouble = el("p", { class: "field-error" });
    const on = toggle(t("On"), true, (wanted) => change(rule, { enabled: wanted }));
    const test = button(t("Test"), () => tryOut(rule, test), { class: "little", icon: "bolt" });
    const node = el("li", { class: "card rule" },
      words, state, trouble,
      el("div", { class: "row" }, on, test,
        button(t("Edit"), () => edit(rule), { class: "little", icon: "edit" }), button(t("Remove"), () => remove(rule), { class: "little", icon: "trash" })));
    const tell = (now) => {
      if (JSON.stringify(now) === JSON.stringify(rule)) return;
      rule = now;
      fill(words, ruleWords(rule, known.names).map((each) => el("p", null, each)));
      on.querySelector("input").checked = rule.enabled;
      node.classList[rule.enabled ? "remove" : "add"]("paused");
      const counts = rule.counts;
      fill(state, counts && [
        n(counts.delivered, "{count} message sent", "{count} messages sent"), counts.held_back > 0 && n(counts.held_back, "{count} held back", "{count} held back"),
        counts.dropped > 0 && n(counts.dropped, "{count} given up", "{count} given up"), rule.last_sent && t("last {time}", { time: when(moment(rule.last_sent)) }),
      ].filter(Boolean).join(" · "));
      const cameras = rule.cameras.filter((id) => !known.cameras.has(id)).map((id) => known.names.get(id) ?? id);
      const lost = rule.lost_zones.map(zoneParts).map(([camera, zone]) => t("{camera}: {zone}", { camera: known.names.get(camera) ?? camera, zone }));
      fill(trouble, [
        rule.enabled && rule.problem && t("This rule does not work: {reason}", { reason: said({ code: rule.problem_code, message: rule.problem }) }),
        cameras.length > 0 && t("No longer there: {cameras}. Nothing is reported from such cameras.", { cameras: listed(cameras) }),
        lost.length > 0 && t("No longer there: {zones}. Nothing is reported from such zones.", { zones: listed(lost) }),
      ].filter(Boolean).join(" "));
    };
    return { node, tell };
  }

  const told = async (work, done) => {
    try {
      await work();
      if (done) toast(done);
    } catch (error) {
      if (error.name !== "AbortError") toast(explain(error), { kind: "bad" });
    }
    await load().catch((error) => error.name === "AbortError" || toast(explain(error), { kind: "bad" }));
  };

  const change = (rule, json) => told(() => api(`/rules/${rule.id}`, { method: "PATCH", json }));

  async function tryOut(rule, test) {
    test.disabled = true;
    await told(() => api(`/rules/${rule.id}/test`, { method: "POST" }), t("The test was carried out: see whether it has arrived."));
    test.disabled = false;
    test.focus();
  }

  async function edit(rule) {
    const made = await editRule(rule, known);
    if (made) await told(async () => {}, rule ? t("The rule was changed") : t("The rule was added; it applies from now on"));
  }

  async function remove(rule) {
    const text = el("div", { class: "stack" }, ruleWords(rule, known.names).map((each) => el("p", null, each)));
    if (await confirm(t("Remove this rule?"), text, t("Remove"))) await told(() => api(`/rules/${rule.id}`, { method: "DELETE" }), t("The rule was removed"));
  }

  await load();
  const timer = setInterval(() => document.hidden || load().catch(() => {}), EVERY); // counts only: the next one may succeed
  signal.addEventListener("abort", () => clearInterval(timer));
}
