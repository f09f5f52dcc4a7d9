// Formats times and durations.

import { locale, n, t } from "./i18n.js";

const CLOCK = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const EXACT = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const WEEKDAY = new Intl.DateTimeFormat(locale, { weekday: "long" });
const DATE = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });
const NEAR = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
const DAY = 86400e3;

/** Converts a time of the API (ISO 8601, or seconds since 1970) to a Date. */
export const moment = (said) => new Date(typeof said === "number" ? said * 1000 : said);

const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

const daysAgo = (date, now) => Math.round((midnight(now) - midnight(date)) / DAY);

export const isToday = (date, now = new Date()) => daysAgo(date, now) === 0;

/** "today", "yesterday", "Tuesday", "3 November", or the date with its year. */
export function day(date, now = new Date()) {
  const days = daysAgo(date, now);
  if (days === 0 || days === 1) return NEAR.format(-days, "day");
  if (days > 1 && days < 7) return WEEKDAY.format(date);
  return (date.getFullYear() === now.getFullYear() ? DATE : FULL).format(date);
}

/** "2026-11-03" as a date with its year. */
export const date = (iso) => FULL.format(new Date(`${iso}T12:00`));

/** "14:02". */
export const clock = (date) => CLOCK.format(date);

/** "14:02" if the date is today, otherwise the day and the time. */
export function when(date) {
  return isToday(date) ? clock(date) : t("{day}, {time}", { day: day(date), time: clock(date) });
}

/** The full date and time, for tooltips. */
export const exactly = (date) => EXACT.format(date);

/** "12 s", "3 min", "1 h 5 min", "2 days". */
export function lasting(seconds) {
  if (seconds < 60) return t("{seconds} s", { seconds: Math.max(1, Math.round(seconds)) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return t("{minutes} min", { minutes });
  if (minutes < 24 * 60) {
    const hours = Math.floor(minutes / 60);
    return minutes % 60 ? t("{hours} h {minutes} min", { hours, minutes: minutes % 60 }) : t("{hours} h", { hours });
  }
  return n(Math.floor(minutes / 1440), "{count} day", "{count} days");
}
