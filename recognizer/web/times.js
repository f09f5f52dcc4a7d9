// Formats times and durations.

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const WEEKDAY = new Intl.DateTimeFormat("en", { weekday: "long" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" });
const DAY = 86400e3;

/** Converts a time of the API (ISO 8601, or seconds since 1970) to a Date. */
export const moment = (said) => new Date(typeof said === "number" ? said * 1000 : said);

const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

/** "today", "yesterday", "Tuesday", "3 November", or the date with its year. */
export function day(date, now = new Date()) {
  const days = Math.round((midnight(now) - midnight(date)) / DAY);
  if (days === 0) return "today";
  if (days === 1) return "yesterday";
  if (days > 1 && days < 7) return WEEKDAY.format(date);
  return (date.getFullYear() === now.getFullYear() ? DATE : FULL).format(date);
}

/** "14:02". */
export const clock = (date) => CLOCK.format(date);

/** "14:02" if the date is today, otherwise the day and the time. */
export function when(date) {
  const said = day(date);
  return said === "today" ? clock(date) : `${said}, ${clock(date)}`;
}

/** The full date and time, for tooltips. */
export const exactly = (date) => EXACT.format(date);

/** "12 s", "3 min", "1 h 5 min", "2 days". */
export function lasting(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  const days = Math.floor(minutes / 1440);
  return days === 1 ? "1 day" : `${days} days`;
}
