// Presence by person and day, and visits that are kept: a dialog of Live and of a person.

import { button, dialog, el, fill, icon, toast } from "./dom.js";
import { api, explain, link, may } from "./api.js";
import { n, number, t } from "./i18n.js";
import { thumbnail } from "./stage.js";
import { date, lasting, moment, when } from "./times.js";

const DAYS = 7;

const iso = (date) => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;

/** Shows who was there on which day; only `subject`, if it is given, with the visits of that person that are kept. */
export function showPresence(subject = null) {
  const today = new Date();
  const since = el("input", { type: "date", id: "presence-since", value: iso(new Date(today.getFullYear(), today.getMonth(), today.getDate() - DAYS + 1)) });
  const until = el("input", { type: "date", id: "presence-until", value: iso(today) });
  const table = el("div", { "aria-live": "polite" });
  const visits = el("div");
  const query = () => ({ since: since.value, until: until.value, subject });

  async function load() {
    try {
      const { days } = await api("/presence", { query: query() });
      fill(table, days.length ? rows(days, subject) : el("p", { class: "muted" }, t("Nobody was recognised on these days.")));
      if (subject) await loadVisits();
    } catch (error) {
      fill(table, el("p", { class: "notice" }, icon("warning"), el("span", null, explain(error))));
    }
  }

  async function loadVisits() {
    let found;
    try {
      found = await api("/events/search", { json: { subject, since: since.value, until: until.value, limit: 24 } });
    } catch (error) {
      if (error.code !== "sightings_off" && error.code !== "subject_not_found") throw error;
      return;
    }
    fill(visits, el("h3", null, n(found.total, "{count} visit", "{count} visits")), el("ul", { class: "archive-grid" }, found.visits.map(visit)));
  }

  function visit(each) {
    const correct = async () => {
      try {
        await api(`/visits/${each.id}`, { method: "PATCH", json: each.subject === subject ? { unknown: true } : { subject } });
        await loadVisits();
      } catch (error) {
        toast(explain(error), { kind: "bad" });
      }
    };
    const words = each.subject === subject ? t("Not {subject}", { subject }) : t("This is {subject}", { subject });
    return el(
      "li", { class: "archive-face" }, thumbnail(link(each.picture), t("{who} at {camera}", { who: each.subject ?? t("Unknown"), camera: each.camera })),
      el("span", { class: "small" }, [when(moment(each.first)), lasting(each.seconds), !each.subject && t("unnamed")].filter(Boolean).join(", ")),
      may("write") && button(words, correct, { class: "little" }),
    );
  }

  for (const field of [since, until]) field.addEventListener("change", load);
  load();
  return dialog(
    subject ? t("Presence of {name}", { name: subject }) : t("Presence"),
    () => el("div", { class: "stack" },
      el("div", { class: "row" }, el("label", { for: "presence-since" }, t("From")), since, el("label", { for: "presence-until" }, t("to")), until),
      table, visits),
    (close) => [
      button(t("Download CSV"), () => (location.href = link("/presence", { ...query(), format: "csv" })), { icon: "download" }),
      button(t("Close"), () => close(), { kind: "primary" }),
    ],
    { wide: true },
  );
}

function rows(days, subject) {
  const head = [t("Day"), !subject && t("Name"), t("First seen"), t("Last seen"), t("Seen for"), t("Visits")].filter(Boolean);
  return el(
    "table", { class: "presence" },
    el("thead", null, el("tr", null, head.map((each) => el("th", { scope: "col" }, each)))),
    el("tbody", null, days.map((each) => el(
      "tr", null, el("td", null, date(each.day)), !subject && el("td", null, each.subject), el("td", null, each.first.slice(11, 16)),
      el("td", null, each.last.slice(11, 16)), el("td", null, lasting(each.seconds)), el("td", null, number(each.visits)),
    ))),
  );
}
