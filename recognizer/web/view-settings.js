// Settings: match threshold, server status, API keys, audit log, backup, and all settings.

import { button, dialog, el, fill, icon, toast } from "./dom.js";
import { api, explain, may } from "./api.js";
import { auditSection } from "./audit.js";
import { mixed, n, number, t } from "./i18n.js";
import { keysSection } from "./keys.js";
import { rateSection } from "./rate.js";
import { receiversSection } from "./receivers.js";
import { lasting } from "./times.js";
import { oneIn } from "./words.js";

export const title = t("Settings");

const EVERY = 5000;
const SOURCES = {
  default: [t("default"), ""], environment: [t("environment"), "good"], file: [t("file"), "good"], config: [t("configuration file"), "good"],
  option: [t("command line"), "good"], page: [t("this page"), "good"],
};

/** Each section is {node, ready}: its element, and a promise for its first content. */
export async function show(main, { signal }) {
  const admin = may("admin");
  const server = el("section", { class: "card stack", "aria-labelledby": "server-title" });
  fill(main, el("div", { class: "view-head" }, el("div", null, el("h1", null, t("Settings")), el("p", null, admin ? t("Matching, access, and status of this server.") : t("Status of this server. Keys and settings require the role admin.")))));
  let rate = null;
  const look = async () => {
    try {
      const found = await api("/health", { signal });
      fill(server, health(found));
      rate?.check(found.counts.templates);
    } catch (error) {
      if (error.name !== "AbortError") fill(server, el("h2", { id: "server-title" }, t("Server")), el("p", { class: "field-error", role: "alert" }, explain(error)));
    }
  };
  const all = admin ? allSettings(signal) : null;
  const sections = admin ? [(rate = rateSection(signal)), receiversSection(signal, all.load), keysSection(signal), auditSection(signal)] : [];
  await Promise.all([look(), all?.ready, ...sections.map((each) => each.ready)]); // shown together, to avoid layout shifts
  if (signal.aborted) return;
  const left = sections.map((each) => each.node);
  main.append(el("div", { class: `settings ${admin ? "" : "plain"}` }, el("div", { class: "stack" }, left), el("div", { class: "stack" }, server, admin && backup()), all?.node));
  const timer = setInterval(() => document.hidden || look(), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

// -- status -----------------------------------------------------------------------------------------------------------

function health(found) {
  const { engine, counts, queue, video } = found;
  const busy = queue.inside > queue.workers ? t("{busy} busy, {waiting} waiting", { busy: queue.workers, waiting: queue.inside - queue.workers }) : t("{busy} of {all} busy", { busy: queue.inside, all: queue.workers });
  const facts = [
    [t("Enrolled"), t("{people} with {photos}", { people: n(counts.subjects, "{count} person", "{count} people"), photos: n(counts.templates, "{count} usable photo", "{count} usable photos") })],
    found.encoding && [t("Being encoded"), n(found.encoding.total, "{done} of {count} photo", "{done} of {count} photos", { done: found.encoding.done })],
    counts.problems > 0 && [t("Unused files"), el("a", { href: "#/people" }, number(counts.problems))],
    [t("Recognition workers"), busy],
    [t("Cameras running"), n(video.viewers, "{cameras}, {count} viewer", "{cameras}, {count} viewers", { cameras: video.running.length })],
    [t("Uptime"), lasting(found.uptime_s)],
    [t("Version"), found.version],
  ];
  const about = [
    [t("Detection model"), engine.detector], [t("Recognition model"), engine.embedder], [t("Embedding size"), engine.dim],
  ];
  const list = (rows) => el("dl", { class: "facts" }, rows.filter(Boolean).map(([name, value]) => [el("dt", null, name), el("dd", { class: "number" }, value instanceof Node ? value : String(value))]));
  return [
    el("div", { class: "spread" }, el("h2", { id: "server-title" }, t("Server")), el("span", { class: `tag ${found.ready ? "good" : "bad"}` }, icon(found.ready ? "check" : "warning"), found.ready ? t("Ready") : t("Not ready"))),
    list(facts), el("h3", null, t("Engine")), list(about),
    el("p", { class: "muted small" }, t("At a threshold of {threshold}, the false match rate is {rate} pairs of different people. Measured on {data}, {date}.", {
      threshold: number(engine.calibration.threshold, { maximumFractionDigits: 6 }), rate: oneIn(engine.calibration.false_match_rate), data: engine.calibration.data_set, date: engine.calibration.date,
    })),
  ];
}

function backup() {
  return el("section", { class: "card stack", "aria-labelledby": "backup-title" }, el("h2", { id: "backup-title" }, t("Backup")),
    el("p", { class: "muted" }, t("One file with everything that cannot be recreated: enrolled people, cameras and events. It contains faces, so protect it like the server itself.")),
    el("div", null, el("a", { class: "button", href: "/backup", download: "" }, icon("download"), el("span", null, t("Download backup")))));
}

// -- all settings -----------------------------------------------------------------------------------------------------

function allSettings(signal) {
  const list = el("ul", { class: "all-settings", tabindex: "0", "aria-label": t("Settings") });
  const search = el("input", { type: "search", placeholder: t("Find a setting"), "aria-label": t("Find a setting"), autocomplete: "off", spellcheck: "false" });
  const changed = el("p", { class: "muted small", role: "status" });
  const node = el("section", { class: "card stack", "aria-labelledby": "all-title" },
    el("div", { class: "spread" }, el("h2", { id: "all-title" }, t("All settings")), el("div", { class: "with-icon" }, icon("search"), search)),
    el("p", { class: "muted" },
      mixed("Set these in the server's environment, or in the file named by {setting}, then restart the server. Those with a button are changed here and take effect at once.",
        { setting: el("code", null, "RECOGNIZER_CONFIG") })), changed, list);
  let rows = [];
  const find = () => {
    const words = search.value.trim().toLowerCase().split(/\s+/);
    let left = 0;
    for (const { setting, node: each } of rows) {
      const text = `${setting.variable} ${setting.help} ${setting.source}`.toLowerCase();
      each.hidden = !words.every((word) => text.includes(word));
      left += !each.hidden;
    }
    const said = rows.filter(({ setting }) => setting.source !== "default").length;
    if (search.value.trim()) changed.textContent = left ? t("{count} found", { count: left }) : t("No matches");
    else changed.textContent = n(rows.length, "{count} setting, {said} set explicitly", "{count} settings, {said} set explicitly", { said });
  };
  search.addEventListener("input", find);
  const load = () => api("/settings", { signal }).then(
    ({ settings }) => {
      rows = settings.map((setting) => ({ setting, node: settingRow(setting) }));
      fill(list, rows.map((each) => each.node));
      find();
    },
    (error) => error.name === "AbortError" || fill(list, el("li", { class: "field-error" }, explain(error))),
  );
  return { node, load, ready: load() };
}

const plainHelp = (setting) => setting.help.replace(/\x60/g, "");

/** Asks for the new value of a setting; resolves with the setting as it is then, or undefined. */
function askValue(setting) {
  const field = el("input", { id: "setting-value", type: "number", step: "any", min: "0", required: true, value: String(setting.value), autofocus: true });
  const problem = el("p", { class: "field-error", role: "alert" });
  return dialog(setting.variable, (close) => {
    const save = el("button", { type: "submit", class: "button primary" }, t("Save"));
    const form = el("form", { class: "stack" },
      el("p", { class: "muted" }, el("bdi", { lang: "en" }, plainHelp(setting))),
      el("div", { class: "field" }, el("label", { for: "setting-value" }, t("Value")), field, problem),
      el("div", { class: "row end" }, button(t("Cancel"), () => close()), save));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      save.disabled = true;
      try {
        close(await api("/settings", { method: "PATCH", json: { [setting.name]: Number(field.value) } }));
      } catch (error) {
        fill(problem, explain(error));
        field.select();
      } finally {
        save.disabled = false;
      }
    });
    queueMicrotask(() => field.select());
    return form;
  });
}

function settingRow(setting) {
  const change = async () => {
    const now = await askValue(setting);
    if (!now) return;
    const row = settingRow(now);
    node.replaceChildren(...row.childNodes);
    node.querySelector("button")?.focus();
    toast(t("{variable} is {value} now", { variable: now.variable, value: number(now.value) }));
  };
  const [words, kind] = SOURCES[setting.source] ?? [setting.source, ""];
  const value = setting.secret && setting.name !== "camera" ? (setting.value === "set" ? t("set") : t("not set")) : Array.isArray(setting.value) ? setting.value.join(", ") : typeof setting.value === "boolean" ? (setting.value ? t("on") : t("off")) : (setting.value ?? "");
  const where = setting.source === "config" || setting.label !== setting.variable ? `: ${setting.label}` : "";
  const node = el(
    "li", null,
    el("div", { class: "setting-name" }, el("code", null, setting.variable), setting.source !== "default" && el("span", { class: `tag ${kind}`, title: t("Set by {what}", { what: `${words}${where}` }) }, words)),
    el("code", { class: "setting-value" }, value === "" ? t("none") : String(value)),
    el("p", { class: "muted small" }, el("bdi", { lang: "en" }, plainHelp(setting)), (setting.changed_at === "/receivers" || (setting.changeable && setting.name === "stranger_rate")) && ` ${t("It can be changed above.")}`,
      setting.fixed_by && setting.name !== "stranger_rate" && ` ${t("It is set by {variable}, and can only be changed there.", { variable: setting.fixed_by })}`),
    setting.changeable && setting.name !== "stranger_rate" && el("div", null, button(t("Change"), change, { class: "little", icon: "edit", "aria-label": t("Change {variable}", { variable: setting.variable }) })),
  );
  return node;
}
