// Settings: match threshold, server status, API keys, audit log, backup, and all settings.

import { button, dialog, el, fill, icon, plural, toast } from "./dom.js";
import { api, explain, may } from "./api.js";
import { auditSection } from "./audit.js";
import { keysSection } from "./keys.js";
import { rateSection } from "./rate.js";
import { lasting } from "./times.js";
import { oneIn } from "./words.js";

export const title = "Settings";

const EVERY = 5000;
const SOURCES = {
  default: ["default", ""], environment: ["environment", "good"], file: ["file", "good"], config: ["configuration file", "good"],
  option: ["command line", "good"], page: ["this page", "good"],
};

/** Each section is {node, ready}: its element, and a promise for its first content. */
export async function show(main, { signal }) {
  const admin = may("admin");
  const server = el("section", { class: "card stack", "aria-labelledby": "server-title" });
  fill(main, el("div", { class: "view-head" }, el("div", null, el("h1", null, "Settings"), el("p", null, admin ? "Matching, access, and status of this server." : "Status of this server. Keys and settings require the role admin."))));
  let rate = null;
  const look = async () => {
    try {
      const found = await api("/health", { signal });
      fill(server, health(found));
      rate?.check(found.counts.templates);
    } catch (error) {
      if (error.name !== "AbortError") fill(server, el("h2", { id: "server-title" }, "Server"), el("p", { class: "field-error", role: "alert" }, explain(error)));
    }
  };
  const sections = admin ? [(rate = rateSection(signal)), keysSection(signal), auditSection(signal), allSettings(signal)] : [];
  await Promise.all([look(), ...sections.map((each) => each.ready)]); // shown together, to avoid layout shifts
  if (signal.aborted) return;
  const left = sections.map((each) => each.node);
  main.append(el("div", { class: `settings ${admin ? "" : "plain"}` }, el("div", { class: "stack" }, left), el("div", { class: "stack" }, server, admin && backup())));
  const timer = setInterval(() => document.hidden || look(), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

// -- status -----------------------------------------------------------------------------------------------------------

function health(found) {
  const { engine, counts, queue, video } = found;
  const busy = queue.inside > queue.workers ? `${queue.workers} busy, ${queue.inside - queue.workers} waiting` : `${queue.inside} of ${queue.workers} busy`;
  const facts = [
    ["Enrolled", `${plural(counts.subjects, "person", "people")} with ${plural(counts.templates, "usable photo")}`],
    found.encoding && ["Being encoded", `${found.encoding.done.toLocaleString("en")} of ${plural(found.encoding.total, "photo")}`],
    counts.problems > 0 && ["Unused files", el("a", { href: "#/people" }, counts.problems.toLocaleString("en"))],
    ["Recognition workers", busy],
    ["Cameras running", `${video.running.length}, ${plural(video.viewers, "viewer")}`],
    ["Uptime", lasting(found.uptime_s)],
    ["Version", found.version],
  ];
  const about = [
    ["Detection model", engine.detector], ["Recognition model", engine.embedder], ["Embedding size", engine.dim],
  ];
  const list = (rows) => el("dl", { class: "facts" }, rows.filter(Boolean).map(([name, value]) => [el("dt", null, name), el("dd", { class: "number" }, value instanceof Node ? value : String(value))]));
  return [
    el("div", { class: "spread" }, el("h2", { id: "server-title" }, "Server"), el("span", { class: `tag ${found.ready ? "good" : "bad"}` }, icon(found.ready ? "check" : "warning"), found.ready ? "Ready" : "Not ready")),
    list(facts), el("h3", null, "Engine"), list(about),
    el("p", { class: "muted small" }, `At a threshold of ${engine.calibration.threshold}, the false match rate is ${oneIn(engine.calibration.false_match_rate)} pairs of different people. Measured on ${engine.calibration.data_set}, ${engine.calibration.date}.`),
  ];
}

function backup() {
  return el("section", { class: "card stack", "aria-labelledby": "backup-title" }, el("h2", { id: "backup-title" }, "Backup"),
    el("p", { class: "muted" }, "One file with everything that cannot be recreated: enrolled people, cameras and events. It contains faces, so protect it like the server itself."),
    el("div", null, el("a", { class: "button", href: "/backup", download: "" }, icon("download"), el("span", null, "Download backup"))));
}

// -- all settings -----------------------------------------------------------------------------------------------------

function allSettings(signal) {
  const list = el("ul", { class: "all-settings", tabindex: "0", "aria-label": "Settings" });
  const search = el("input", { type: "search", placeholder: "Find a setting", "aria-label": "Find a setting", autocomplete: "off", spellcheck: "false" });
  const changed = el("p", { class: "muted small", role: "status" });
  const node = el("section", { class: "card stack", "aria-labelledby": "all-title" },
    el("div", { class: "spread" }, el("h2", { id: "all-title" }, "All settings"), el("div", { class: "with-icon" }, icon("search"), search)),
    el("p", { class: "muted" }, "Set these in the server's environment, or in the file named by ", el("code", null, "RECOGNIZER_CONFIG"), ", then restart the server. Those with a button are changed here and take effect at once."), changed, list);
  const ready = api("/settings", { signal }).then(
    ({ settings }) => {
      const rows = settings.map((setting) => ({ setting, node: settingRow(setting) }));
      const said = settings.filter((each) => each.source !== "default").length;
      list.append(...rows.map((each) => each.node));
      const count = () => (changed.textContent = `${plural(settings.length, "setting")}, ${said} set explicitly`);
      count();
      search.addEventListener("input", () => {
        const words = search.value.trim().toLowerCase().split(/\s+/);
        let left = 0;
        for (const { setting, node: each } of rows) {
          const text = `${setting.variable} ${setting.help} ${setting.source}`.toLowerCase();
          each.hidden = !words.every((word) => text.includes(word));
          left += !each.hidden;
        }
        if (search.value.trim()) changed.textContent = left ? `${left} found` : "No matches";
        else count();
      });
    },
    (error) => error.name === "AbortError" || fill(list, el("li", { class: "field-error" }, explain(error))),
  );
  return { node, ready };
}

/** Asks for the new value of a setting; resolves with the setting as it is then, or undefined. */
function askValue(setting) {
  const field = el("input", { id: "setting-value", type: "number", step: "any", min: "0", required: true, value: String(setting.value), autofocus: true });
  const problem = el("p", { class: "field-error", role: "alert" });
  return dialog(setting.variable, (close) => {
    const save = el("button", { type: "submit", class: "button primary" }, "Save");
    const form = el("form", { class: "stack" },
      el("p", { class: "muted" }, setting.help.replaceAll("`", "")),
      el("div", { class: "field" }, el("label", { for: "setting-value" }, "Value"), field, problem),
      el("div", { class: "row end" }, button("Cancel", () => close()), save));
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
    toast(`${now.variable} is ${now.value} now`);
  };
  const [words, kind] = SOURCES[setting.source] ?? [setting.source, ""];
  const value = Array.isArray(setting.value) ? setting.value.join(", ") : typeof setting.value === "boolean" ? (setting.value ? "on" : "off") : (setting.value ?? "");
  const where = setting.source === "config" || setting.label !== setting.variable ? `: ${setting.label}` : "";
  const node = el(
    "li", null,
    el("div", { class: "setting-name" }, el("code", null, setting.variable), setting.source !== "default" && el("span", { class: `tag ${kind}`, title: `Set by ${words}${where}` }, words)),
    el("code", { class: "setting-value" }, value === "" ? "none" : String(value)),
    el("p", { class: "muted small" }, setting.help.replaceAll("`", ""), setting.changeable && setting.name === "stranger_rate" && " It can be changed above.",
      setting.fixed_by && setting.name !== "stranger_rate" && ` It is set by ${setting.fixed_by}, and can only be changed there.`),
    setting.changeable && setting.name !== "stranger_rate" && el("div", null, button("Change", change, { class: "little", icon: "edit", "aria-label": `Change ${setting.variable}` })),
  );
  return node;
}
