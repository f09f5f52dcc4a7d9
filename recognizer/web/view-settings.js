// Settings: how near is near enough, how the server is, keys, and every setting.

import { el, fill, icon, plural } from "./dom.js";
import { api, explain, may } from "./api.js";
import { auditSection } from "./audit.js";
import { keysSection } from "./keys.js";
import { rateSection } from "./rate.js";
import { lasting } from "./times.js";
import { oneIn } from "./words.js";

export const title = "Settings";

const EVERY = 5000;
const SOURCES = {
  default: ["by default", ""], environment: ["environment", "good"], file: ["file", "good"], config: ["configuration file", "good"],
  option: ["command", "good"], page: ["this page", "good"],
};

/** Each section is {node, ready}: what is shown, and a promise of its first content. */
export async function show(main, { signal }) {
  const admin = may("admin");
  const server = el("section", { class: "card stack", "aria-labelledby": "server-title" });
  fill(main, el("div", { class: "view-head" }, el("div", null, el("h1", null, "Settings"), el("p", null, admin ? "How this server decides, who may use it, and how it is." : "How this server is. Keys and settings need a key with the role admin."))));
  const look = async () => {
    try {
      fill(server, health(await api("/health", { signal })));
    } catch (error) {
      if (error.name !== "AbortError") fill(server, el("h2", { id: "server-title" }, "The server"), el("p", { class: "field-error", role: "alert" }, explain(error)));
    }
  };
  const sections = admin ? [rateSection(signal), keysSection(signal), auditSection(signal), allSettings(signal)] : [];
  await Promise.all([look(), ...sections.map((each) => each.ready)]); // shown together, so that none pushes another away
  if (signal.aborted) return;
  const left = sections.map((each) => each.node);
  main.append(el("div", { class: `settings ${admin ? "" : "plain"}` }, el("div", { class: "stack" }, left), el("div", { class: "stack" }, server, admin && backup())));
  const timer = setInterval(() => document.hidden || look(), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

// -- how it is --------------------------------------------------------------------------------------------------------

function health(found) {
  const { engine, counts, queue, video } = found;
  const busy = queue.inside > queue.workers ? `${queue.workers} at work, ${queue.inside - queue.workers} waiting` : `${queue.inside} of ${queue.workers} at work`;
  const facts = [
    ["Enrolled", `${plural(counts.subjects, "person", "people")}, ${plural(counts.templates, "photo")}`],
    counts.problems > 0 && ["Not used", el("a", { href: "#/people" }, plural(counts.problems, "file"))],
    ["Photos at once", busy],
    ["Cameras running", `${video.running.length}, ${plural(video.viewers, "viewer")}`],
    ["Up for", lasting(found.uptime_s)],
    ["Version", found.version],
  ];
  const about = [
    ["Finds faces", engine.detector], ["Tells them apart", engine.embedder], ["Numbers per face", engine.dim],
  ];
  const list = (rows) => el("dl", { class: "facts" }, rows.filter(Boolean).map(([name, value]) => [el("dt", null, name), el("dd", { class: "number" }, value instanceof Node ? value : String(value))]));
  return [
    el("div", { class: "spread" }, el("h2", { id: "server-title" }, "The server"), el("span", { class: `tag ${found.ready ? "good" : "bad"}` }, icon(found.ready ? "check" : "warning"), found.ready ? "Ready" : "Not ready")),
    list(facts), el("h3", null, "Engine"), list(about),
    el("p", { class: "muted small" }, `Photos of two different people are as near as ${engine.calibration.threshold} in ${oneIn(engine.calibration.false_match_rate)} pairs. Measured on ${engine.calibration.data_set}, ${engine.calibration.date}.`),
  ];
}

function backup() {
  return el("section", { class: "card stack", "aria-labelledby": "backup-title" }, el("h2", { id: "backup-title" }, "Backup"),
    el("p", { class: "muted" }, "Everything that cannot be made again, in one file: the enrolled, cameras and what happened. Keep it as safe as the server itself: it holds faces."),
    el("div", null, el("a", { class: "button", href: "/backup", download: "" }, icon("download"), el("span", null, "Download a backup"))));
}

// -- every setting ----------------------------------------------------------------------------------------------------

function allSettings(signal) {
  const list = el("ul", { class: "all-settings", tabindex: "0", "aria-label": "Settings" });
  const search = el("input", { type: "search", placeholder: "Find a setting", "aria-label": "Find a setting", autocomplete: "off", spellcheck: "false" });
  const changed = el("p", { class: "muted small", role: "status" });
  const node = el("section", { class: "card stack", "aria-labelledby": "all-title" },
    el("div", { class: "spread" }, el("h2", { id: "all-title" }, "All settings"), el("div", { class: "with-icon" }, icon("search"), search)),
    el("p", { class: "muted" }, "Whoever runs the server sets these in its environment, or in the file that ", el("code", null, "RECOGNIZER_CONFIG"), " names, and starts it again."), changed, list);
  const ready = api("/settings", { signal }).then(
    ({ settings }) => {
      const rows = settings.map((setting) => ({ setting, node: settingRow(setting) }));
      const said = settings.filter((each) => each.source !== "default").length;
      list.append(...rows.map((each) => each.node));
      const count = () => (changed.textContent = `${plural(settings.length, "setting")}, ${said} of them set`);
      count();
      search.addEventListener("input", () => {
        const words = search.value.trim().toLowerCase().split(/\s+/);
        let left = 0;
        for (const { setting, node: each } of rows) {
          const text = `${setting.variable} ${setting.help} ${setting.source}`.toLowerCase();
          each.hidden = !words.every((word) => text.includes(word));
          left += !each.hidden;
        }
        if (search.value.trim()) changed.textContent = left ? `${left} found` : "Nothing found";
        else count();
      });
    },
    (error) => error.name === "AbortError" || fill(list, el("li", { class: "field-error" }, explain(error))),
  );
  return { node, ready };
}

function settingRow(setting) {
  const [words, kind] = SOURCES[setting.source] ?? [setting.source, ""];
  const value = Array.isArray(setting.value) ? setting.value.join(", ") : typeof setting.value === "boolean" ? (setting.value ? "on" : "off") : (setting.value ?? "");
  const where = setting.source === "config" || setting.label !== setting.variable ? `: ${setting.label}` : "";
  return el(
    "li", null,
    el("div", { class: "setting-name" }, el("code", null, setting.variable), setting.source !== "default" && el("span", { class: `tag ${kind}`, title: `Comes from ${words}${where}` }, words)),
    el("code", { class: "setting-value" }, value === "" ? "none" : String(value)),
    el("p", { class: "muted small" }, setting.help.replaceAll("`", ""), setting.changeable && " It can be changed above."),
  );
}
