// A rule in words: whole sentences, since the order of words differs between languages.

import { listed, locale, n, t } from "./i18n.js";

export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/** Minutes for which a message may still be sent where nothing else is said, by action; as on the server. */
export const LATE = { notify: 1440, push: 60, webhook: 1440, mqtt: 1 };
const NAMES = new Intl.DateTimeFormat(locale, { weekday: "long", timeZone: "UTC" });

/** "Monday" for "mon". */
export const dayName = (day) => NAMES.format(Date.UTC(2024, 0, 1 + DAYS.indexOf(day))); // 1 January 2024 was a Monday

/** The sentences that say what a rule does. `cameras` has the names of cameras by id; of an address only what may be shown is said. */
export function ruleWords(rule, cameras) {
  const who = whom(rule);
  const where = rule.cameras.length ? listed(rule.cameras.map((id) => place(rule, id, cameras))) : t("any camera");
  const deed = whatHappens(rule);
  return [
    rule.kind === "leaves" ? t("When {who} leaves {where}, {deed}.", { who, where, deed }) : t("When {who} comes to {where}, {deed}.", { who, where, deed }),
    rule.days.length > 0 && t("Only on {days}.", { days: listed(rule.days.map(dayName)) }),
    rule.start && t("Only from {start} to {end}.", { start: rule.start, end: rule.end }),
    rule.sure === "sure" && rule.who !== "unknown" && t("Only if the name is sure."),
    rule.apart_minutes > 0 && n(rule.apart_minutes, "At least {count} minute between two messages about the same person.", "At least {count} minutes between two messages about the same person."),
    rule.action === "mqtt" && rule.retain && t("The broker keeps the last message for clients that connect later."),
    rule.late_minutes > 0 && rule.late_minutes !== LATE[rule.action] && n(rule.late_minutes, "Not more than {count} minute late.", "Not more than {count} minutes late."),
    n(rule.most_per_hour, "At most {count} message an hour.", "At most {count} messages an hour."),
  ].filter(Boolean);
}

/** [id of the camera, name of the zone] of a zone as rules have it. */
export const zoneParts = (zone) => [zone.slice(0, zone.indexOf("/")), zone.slice(zone.indexOf("/") + 1)];

function place(rule, id, cameras) {
  const zones = (rule.zones ?? []).map(zoneParts).filter(([camera]) => camera === id).map(([, zone]) => zone);
  const camera = cameras.get(id) ?? id;
  return zones.length ? t("{camera} (only in {zones})", { camera, zones: listed(zones) }) : camera;
}

function whom({ who, people, group }) {
  if (who === "people") return people.length ? listed(people) : "…";
  if (who === "group") return group === "default" ? t("somebody enrolled") : t("somebody of the group {group}", { group });
  return { known: t("somebody with a name"), unknown: t("somebody unknown"), anybody: t("anybody") }[who];
}

function whatHappens(rule) {
  const address = rule.url || "…";
  if (rule.action === "push") return t("the subscribed browsers are notified");
  if (rule.action === "webhook") return t("{address} is called", { address });
  if (rule.action === "notify") return rule.picture ? t("a notification with a picture goes to {address}", { address }) : t("a notification goes to {address}", { address });
  const values = { payload: rule.payload || "…", topic: rule.topic || "…", off: rule.off_payload ?? "", seconds: rule.off_seconds };
  return rule.off_seconds > 0 ? t("“{payload}” is published to {topic}, and “{off}” after {seconds} s", values) : t("“{payload}” is published to {topic}", values);
}

/** The text of a notification where none was written, in the language of the page. */
export function usualMessage({ kind, who, action }) {
  if (who === "unknown") return kind === "leaves" ? t("Somebody unknown left {camera} ({time})") : t("Somebody unknown is at {camera} ({time})");
  if (action === "push") return kind === "leaves" ? t("Somebody left {camera} ({time})") : t("Somebody is at {camera} ({time})");
  return kind === "leaves" ? t("{who} left {camera} ({time})") : t("{who} is at {camera} ({time})");
}

/** What everybody who makes a rule must know. */
export const NOTICE = t("A face is no key: a printed photo held up to the camera, or a screen that shows one, is recognised like the person. Do not let a rule open anything that a photo must not open.");
