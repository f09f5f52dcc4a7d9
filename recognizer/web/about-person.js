// What is known about a person besides the photos: consent, expiry, tags, and when cameras saw them.

import { button, dialog, el, fill, icon } from "./dom.js";
import { api, explain, may, personPath } from "./api.js";
import { locale, number, t } from "./i18n.js";
import { exactly, moment, when } from "./times.js";

const SHORT = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const DATE = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });

/** "31 December 2027" for a day, the exact time for a time. */
export const untilDay = (expires) => (expires.length === 10 ? DATE.format(new Date(`${expires}T00:00:00Z`)) : exactly(moment(expires)));

/** A few words on the consent for lists; null if there is nothing to say. */
export function consentWords(person) {
  if (person.expired) return el("span", { class: "bad-words" }, t("Consent expired"));
  if (person.expires) return t("Consent to {day}", { day: SHORT.format(new Date(person.expires)) });
  return person.consent ? t("Consent noted") : null;
}

/** The card with what is known about a person. `changed` is called after a change. */
export function aboutPerson(person, changed) {
  const rows = [
    [t("Consent"), person.consent ?? t("No note"), !person.consent && "muted"],
    [t("Valid until"), person.expires ? (person.expired ? t("{day}: expired", { day: untilDay(person.expires) }) : untilDay(person.expires)) : t("No end"), person.expired ? "bad-words" : !person.expires && "muted"],
    [t("Last seen"), person.last_seen ? when(moment(person.last_seen)) : t("Not seen by a camera"), !person.last_seen && "muted"],
    [t("Visits"), person.visits ? number(person.visits) : t("None"), !person.visits && "muted"],
  ];
  return el("section", { class: "card about-person", "aria-labelledby": "about-person" },
    el("div", { class: "spread" }, el("h2", { id: "about-person" }, t("About")), may("write") && button(t("Edit"), () => edit(person, changed), { class: "little", icon: "edit", "aria-label": t("Edit consent and tags") })),
    person.expired && el("p", { class: "notice bad" }, icon("warning"), el("span", null, t("The consent has expired: {name} is no longer recognised and will be erased.", { name: person.name }))),
    el("dl", { class: "about-facts" }, rows.map(([name, value, kind]) => el("div", null, el("dt", null, name), el("dd", { class: kind || "" }, value))),
      el("div", null, el("dt", null, t("Tags")), el("dd", { class: "row" }, person.tags.length ? person.tags.map((tag) => el("a", { class: "tag", href: `#/people/tag/${encodeURIComponent(tag)}` }, tag)) : el("span", { class: "muted" }, t("None"))))),
  );
}

async function edit(person, changed) {
  const problem = el("p", { class: "field-error", role: "alert" });
  const note = el("textarea", { id: "consent-note", rows: "3", maxlength: "4000", value: person.consent ?? "", autofocus: true });
  const day = el("input", { id: "consent-until", type: "date", value: (person.expires ?? "").slice(0, 10) });
  const tags = el("input", { id: "person-tags", value: person.tags.join(", "), autocomplete: "off", maxlength: "840" });
  const done = await dialog(
    t("About {name}", { name: person.name }),
    () => el("div", { class: "stack" },
      el("div", { class: "field" }, el("label", { for: "consent-note" }, t("Consent: what was agreed to, or where that is recorded")), note),
      el("div", { class: "field" }, el("label", { for: "consent-until" }, t("Valid until (the last day)")), day,
        el("p", { class: "small muted" }, t("After that day the person is no longer recognised, and is erased after the grace period. Leave it empty for no end."))),
      el("div", { class: "field" }, el("label", { for: "person-tags" }, t("Tags, separated by commas")), tags),
      problem),
    (close) => {
      const save = button(t("Save"), async () => {
        save.disabled = true;
        const sent = {};
        if (note.value.trim() !== (person.consent ?? "")) sent.consent = note.value.trim() || "none";
        if (day.value !== (person.expires ?? "").slice(0, 10)) sent.expires = day.value || "none";
        if (tags.value.trim() !== person.tags.join(", ")) sent.tags = tags.value.trim() || "none";
        try {
          if (Object.keys(sent).length) await api(personPath(person.name), { method: "PATCH", json: sent });
          close(Object.keys(sent).length > 0);
        } catch (error) {
          fill(problem, explain(error));
          save.disabled = false;
        }
      }, { kind: "primary" });
      return [button(t("Cancel"), () => close()), save];
    },
  );
  if (done) changed();
}
