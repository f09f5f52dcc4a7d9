// The audit log section of Settings.

import { button, el, fill } from "./dom.js";
import { api, explain } from "./api.js";
import { mixed, t } from "./i18n.js";
import { exactly, moment, when } from "./times.js";

const PAGE = 30;

export function auditSection(signal) {
  const list = el("ul", { class: "audit", "aria-label": t("Audit log entries, newest first") });
  const foot = el("div");
  const node = el("section", { class: "card stack", "aria-labelledby": "audit-title" }, el("h2", { id: "audit-title" }, t("Audit log")),
    el("p", { class: "muted" }, mixed("Every change, with the person it concerns and the key that made it. Entries are hash-chained; check them for tampering with {command}.", { command: el("code", null, "python -m recognizer audit verify") })), list, foot);

  async function load(before = null) {
    try {
      const { lines } = await api("/audit", { query: { limit: PAGE, before }, signal });
      list.append(...lines.reverse().map(row));
      const oldest = lines.at(-1)?.seq;
      fill(foot, !list.children.length && el("p", { class: "muted" }, t("No entries yet.")), lines.length === PAGE && button(t("Show earlier entries"), () => load(oldest), { class: "little" }));
    } catch (error) {
      if (error.name !== "AbortError") fill(foot, el("p", { class: "field-error", role: "alert" }, explain(error)));
    }
  }

  return { node, ready: load() };
}

function row(line) {
  const time = moment(line.time);
  const details = Object.entries(line.details ?? {}).map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return el(
    "li", null, el("time", { class: "muted small number", datetime: line.time, title: exactly(time) }, when(time)),
    el("span", { class: "audit-what" }, el("strong", null, line.action.replaceAll("_", " ")), (line.name || line.subject) && el("span", null, ` ${line.name ?? line.subject}`), details && el("span", { class: "muted" }, ` (${details})`)),
    el("span", { class: "muted small" }, line.actor),
  );
}
