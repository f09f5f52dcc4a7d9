// The timeline: visits, combined from the events of appearing and leaving, live and from the stored history.

import { announce, button, dialog, el, empty, fill, icon } from "./dom.js";
import { api, explain, link, may } from "./api.js";
import { isolated, t } from "./i18n.js";
import { reasonWords } from "./reasons.js";
import { clock, day, exactly, lasting, moment } from "./times.js";

const PAGE = 60;
const MOST_SHOWN = 600;
const KINDS = ["appeared", "unknown", "entered", "left", "camera_live", "camera_lost", "camera_frozen", "camera_ended"];
const CAMERA_WORDS = {
  camera_live: (camera) => t("{camera} is live", { camera }), camera_lost: (camera) => t("{camera} is disconnected", { camera }),
  camera_frozen: (camera) => t("{camera} is frozen", { camera }), camera_ended: (camera) => t("{camera} has ended", { camera }),
};
const AGAIN = 4000;

export class Timeline {
  /** `names(id)` returns the name of a camera; `heard` is called with each live event. */
  constructor({ signal, names, heard, camera = "" }) {
    Object.assign(this, { signal, names, heard, camera, subject: "", zone: "", since: "", until: "" });
    this.visits = new Map();
    this.list = el("ol", { class: "visits", "aria-label": t("Visits") });
    this.foot = el("div", { class: "visits-foot" });
    this.pulse = el("span", { class: "pulse", role: "status" }, el("i"), el("span"));
    this.node = el("div", { class: "timeline" }, this.list, this.foot);
    document.addEventListener("visibilitychange", () => (document.hidden ? this.hush() : this.listen()), { signal });
    signal.addEventListener("abort", () => this.hush());
  }

  /** Reloads the visits that match the filters, newest first. */
  async begin({ subject = this.subject, camera = this.camera, zone = this.zone, since = this.since, until = this.until } = {}) {
    this.hush();
    Object.assign(this, { subject, camera, zone, since, until });
    this.pulse.hidden = Boolean(until); // of days that are over there is no news
    const mine = (this.turn = (this.turn ?? 0) + 1);
    let page;
    try {
      page = await this.page();
    } catch (error) {
      if (error.name === "AbortError" || mine !== this.turn) return;
      this.list.replaceChildren();
      const off = error.code === "events_off";
      fill(this.foot, empty("live", off ? t("Events are switched off") : t("Something went wrong"), off ? t("Visits are not recorded, because RECOGNIZER_EVENTS is off.") : explain(error)));
      this.pulse.hidden = true;
      return;
    }
    if (mine !== this.turn) return;
    this.visits.clear();
    this.list.replaceChildren();
    this.last = page.last;
    this.oldest = null;
    this.take(page.events);
    this.ended = page.events.length < PAGE;
    this.sayFoot();
    this.listen();
  }

  page(before = null) {
    return api("/events", { query: { format: "json", limit: PAGE, before, ...this.filters() }, signal: this.signal });
  }

  filters() {
    const { subject, camera, zone, since, until } = this;
    return { subject, camera, zone, since, until };
  }

  /** The address of the same events as a table. */
  table() {
    return link("/events", { format: "csv", ...this.filters() });
  }

  async more() {
    this.older.disabled = true;
    try {
      const page = await this.page(this.oldest);
      this.take(page.events);
      this.ended = page.events.length < PAGE;
      this.sayFoot();
    } catch (error) {
      if (error.name !== "AbortError") fill(this.foot, el("p", { class: "field-error", role: "alert" }, explain(error)), (this.older = button(t("Try again"), () => this.more())));
    }
  }

  sayFoot() {
    if (!this.visits.size) {
      const asked = Object.values(this.filters()).some(Boolean);
      fill(this.foot, asked ? empty("search", t("No visits found"), t("No visit matches these filters.")) : empty("people", t("No visits yet"), t("People seen by a running camera appear here, with a picture.")));
    } else if (this.ended) fill(this.foot, el("p", { class: "muted small" }, t("No earlier visits.")));
    else fill(this.foot, (this.older = button(t("Show earlier visits"), () => this.more())));
  }

  // -- live events ----------------------------------------------------------------------------------------------

  listen() {
    if (this.signal.aborted || document.hidden || this.source || this.last === undefined || this.until) return;
    const source = new EventSource(link("/events", { after: this.last, subject: this.subject, camera: this.camera, zone: this.zone }));
    this.source = source;
    this.say(t("Connecting"), "");
    source.addEventListener("open", () => this.say(t("Live"), "good"));
    source.addEventListener("error", () => {
      this.say(t("Disconnected, reconnecting"), "bad");
      if (source.readyState !== EventSource.CLOSED) return; // the browser reconnects and resumes after the last event
      this.hush();
      this.retry = setTimeout(() => this.listen(), AGAIN);
    });
    source.addEventListener("missed", () => this.begin());
    for (const kind of KINDS) source.addEventListener(kind, (message) => source === this.source && this.hear(JSON.parse(message.data)));
  }

  hush() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  say(words, kind) {
    this.pulse.className = `pulse ${kind}`;
    this.pulse.lastChild.textContent = words;
  }

  hear(event) {
    this.last = Math.max(this.last, event.id);
    const first = !this.visits.size;
    this.take([event]);
    if (first) this.sayFoot();
    const who = event.subject ?? t("Unknown person");
    if (event.kind === "appeared" || event.kind === "unknown") announce(t("{who} at {camera}", { who, camera: this.names(event.camera) }));
    for (const late of [...this.visits.keys()].sort((one, other) => other - one).slice(MOST_SHOWN)) {
      this.drop(late);
      this.ended = false;
      this.oldest = late + 1;
    }
    if (this.visits.size === MOST_SHOWN) this.sayFoot();
    this.heard?.(event);
  }

  // -- events to visits -----------------------------------------------------------------------------------------

  take(events) {
    for (const event of events) {
      this.oldest = Math.min(this.oldest ?? event.id, event.id);
      const follows = event.kind === "left" || event.kind === "entered";
      const id = follows ? (event.appearance ?? event.id) : event.id;
      const visit = this.visits.get(id) ?? { id, began: moment(event.since ?? event.time) };
      if (event.kind === "left") Object.assign(visit, { ended: moment(event.time), seconds: event.seconds, reason: event.reason });
      else if (!follows) visit.kind = event.kind;
      if (event.kind === "appeared" && event.replaces) this.drop(event.replaces);
      visit.camera = event.camera;
      visit.subject = event.subject ?? visit.subject ?? null;
      visit.thumbnail = event.thumbnail ?? visit.thumbnail ?? null;
      visit.zones = [...new Set([...(visit.zones ?? []), ...(event.zones ?? [])])];
      visit.scene = event.scene ?? visit.scene ?? null;
      if (event.kind in CAMERA_WORDS) visit.reason = event.reason;
      this.visits.set(id, visit);
      this.place(visit);
    }
  }

  drop(id) {
    const visit = this.visits.get(id);
    if (!visit) return;
    visit.node?.remove();
    this.visits.delete(id);
    this.days();
  }

  place(visit) {
    const node = visit.kind in CAMERA_WORDS ? this.ofCamera(visit) : this.ofPerson(visit);
    if (visit.node) visit.node.replaceWith(node);
    else {
      const after = [...this.list.children].find((each) => each.dataset.id !== undefined && Number(each.dataset.id) < visit.id);
      this.list.insertBefore(node, after ?? null);
    }
    visit.node = node;
    this.days();
  }

  /** A heading before the first visit of each day. */
  days() {
    if (this.dated) return;
    this.dated = true;
    queueMicrotask(() => {
      this.dated = false;
      for (const heading of this.list.querySelectorAll(".visits-day")) heading.remove();
      let before = "";
      for (const node of [...this.list.children]) {
        const now = node.dataset.day;
        if (now !== before) this.list.insertBefore(el("li", { class: "visits-day" }, el("h3", null, now)), node);
        before = now;
      }
    });
  }

  data(visit) {
    const said = day(visit.began);
    return { id: String(visit.id), day: said.charAt(0).toUpperCase() + said.slice(1) };
  }

  ofPerson(visit) {
    const here = !visit.ended;
    const fallback = () => el("span", { class: "crop missing" }, icon(visit.subject ? "face" : "stranger"));
    let face = fallback();
    if (visit.thumbnail) {
      face = el("img", { class: "crop", src: visit.thumbnail, alt: "", loading: "lazy" });
      face.addEventListener("error", () => face.replaceWith(fallback()));
    }
    if (visit.scene) face = el("button", { type: "button", class: "visit-scene", title: t("Show the whole picture"), "aria-label": t("Show the whole picture"), on: { click: () => this.showScene(visit) } }, face);
    const inbox = !visit.subject && may("write");
    const name = visit.subject
      ? el("a", { class: "visit-name", href: `#/people/${encodeURIComponent(visit.subject)}`, title: visit.subject }, visit.subject)
      : inbox ? el("a", { class: "visit-name unknown", href: "#/strangers" }, t("Unknown person")) : el("span", { class: "visit-name unknown" }, t("Unknown person"));
    const time = el("time", { class: "number", datetime: visit.began.toISOString(), title: exactly(visit.began) }, clock(visit.began));
    const stay = here ? el("span", { class: "tag good" }, t("Here now")) : el("span", { class: "muted small number", title: reasonWords(visit.reason) }, t("for {time}", { time: lasting(visit.seconds ?? (visit.ended - visit.began) / 1000) }));
    return el("li", { class: "visit", data: this.data(visit) }, face, el("div", { class: "visit-who" }, name, el("span", { class: "muted small" }, [this.names(visit.camera), ...visit.zones].map(isolated).join(" · "))), el("div", { class: "visit-when" }, time, stay));
  }

  showScene(visit) {
    const title = t("{who} at {camera}", { who: visit.subject ?? t("Unknown person"), camera: this.names(visit.camera) });
    return dialog(title, () => el("div", { class: "stack" }, el("img", { class: "archive-photo", src: link(visit.scene), alt: title }), el("p", { class: "muted small" }, exactly(visit.began))), null, { wide: true });
  }

  ofCamera(visit) {
    const words = CAMERA_WORDS[visit.kind](this.names(visit.camera));
    const time = el("time", { class: "number", datetime: visit.began.toISOString(), title: exactly(visit.began) }, clock(visit.began));
    return el("li", { class: `visit of-camera ${visit.kind === "camera_lost" ? "lost" : ""}`, data: this.data(visit) }, icon(visit.kind === "camera_live" ? "camera" : "warning"), el("div", { class: "visit-who" }, el("span", null, words), visit.reason && el("span", { class: "muted small" }, reasonWords(visit.reason))), el("div", { class: "visit-when" }, time));
  }
}
