// What goes on at the server while any view is shown: photos that are encoded, and strangers who are new.

import { el, fill } from "./dom.js";
import { api, may } from "./api.js";
import { n, number, t } from "./i18n.js";
import { lasting } from "./times.js";

const FIRST = 1200;
const EVERY = 15000;
const WHILE_ENCODING = 2000;
const LOOKED = "strangers-looked";

let timer;
let wanted = false;

/** How far the encoding of photos is, as a bar with words. `encoding` as in /health. */
export function encodingBar(encoding) {
  const { done, total } = encoding;
  const said = encoding.seconds_left
    ? n(total, "{done} of {count} photo in known_faces encoded, about {left} left.", "{done} of {count} photos in known_faces encoded, about {left} left.", { done, left: lasting(encoding.seconds_left) })
    : n(total, "{done} of {count} photo in known_faces encoded.", "{done} of {count} photos in known_faces encoded.", { done });
  return el("div", { class: "activity-bar" },
    el("progress", { max: total, value: done, "aria-label": t("Photos encoded") }),
    el("span", { class: "small number" }, `${said} ${t("People whose photos are not encoded yet are not recognised.")}`));
}

/** Notes that the user looks at the strangers now: those there are no longer new. */
export function lookedAtStrangers() {
  try {
    localStorage.setItem(LOOKED, new Date().toISOString());
  } catch {
    // storage is not available: the badge counts all strangers
  }
  badge(0);
}

function badge(count) {
  const tab = document.querySelector('.tabs [data-view="strangers"]');
  if (!tab) return;
  tab.querySelector(".badge")?.remove();
  if (count) tab.append(el("span", { class: "badge" }, count > 99 ? "99+" : number(count), el("span", { class: "out" }, ` ${t("new")}`)));
}

function since() {
  try {
    return localStorage.getItem(LOOKED) ?? "1970-01-02T00:00:00Z";
  } catch {
    return "1970-01-02T00:00:00Z";
  }
}

async function look() {
  let pause = EVERY;
  try {
    const { encoding } = await api("/health");
    fill(document.getElementById("activity"), encoding && encodingBar(encoding));
    if (encoding) pause = WHILE_ENCODING;
    if (may("write")) {
      const { on, total } = await api("/strangers", { query: { limit: 1, since: since() } });
      badge(on && !location.hash.startsWith("#/strangers") ? total : 0);
    }
  } catch {
    fill(document.getElementById("activity")); // the view says what is wrong
  }
  again(pause);
}

function again(pause) {
  clearTimeout(timer);
  if (wanted && !document.hidden) timer = setTimeout(look, pause);
}

document.addEventListener("visibilitychange", () => again(FIRST));

/** Shows on every view what goes on, from now on. */
export function followActivity() {
  wanted = true;
  again(FIRST);
}

/** Ends that: nobody is signed in. */
export function endActivity() {
  wanted = false;
  clearTimeout(timer);
  fill(document.getElementById("activity"));
  badge(0);
}
