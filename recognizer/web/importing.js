// Adding photos of many people: what is to be added, the uploads, and the photos that were refused. There is one import at a
// time; it belongs to the page, not to a view, so it goes on whatever is shown. A strip below the header says how far it is.

import { announce, el, fill, icon, toast } from "./dom.js";
import { api, ApiError, explain, sentence, session } from "./api.js";
import { locale, n, t } from "./i18n.js";
import { namesByFolder, namesByTable, nameOfFile } from "./intake.js";
import { lasting } from "./times.js";
import { warning } from "./words.js";
import { ZipError } from "./zip.js";

/** Uploads at once: enough for a server with four workers, and few enough to leave connections for the views. */
const AT_ONCE = 4;
const LATER = new Set(["busy", "rate_limited", "starting"]);
const TRIES = 8;
const RECENT = 60;
const NAMES = 1000;

let current = null;

/** The import that is planned or running; null if there is none, or if it belongs to another session. */
export function currentImport() {
  if (current && current.owner !== owner()) current.discard();
  return current;
}

const owner = () => session.key?.id ?? session.key?.name ?? "";

/** Plans an import of what `intake.collect` found, or adds it to the one that is planned already. */
export function plan(found) {
  const there = currentImport();
  const mine = there && there.state === "planned" ? there : new Import();
  if (there && mine !== there) {
    if (there.unfinished) throw new Error(t("another import is not finished"));
    there.discard();
  }
  current = mine;
  mine.take(found);
  return mine;
}

/** One person of an import: the name, and the photos. */
class Group {
  constructor(key, name) {
    Object.assign(this, { key, name, included: true, items: [] });
  }

  /** Why this name needs a decision; "" if it does not. */
  get trouble() {
    if (!this.name.trim()) return t("No name");
    if (/[/\\\p{Cc}]/u.test(this.name)) return t("A name must not contain / or \\");
    if (/^\.+/.test(this.name.trim())) return t("A name must not begin with a full stop");
    return this.name.length > 200 ? t("This name is too long") : "";
  }
}

class Import extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { owner: owner(), state: "planned", by: null, face: "only", running: 0, added: 0, queue: [], times: [], leaving: new AbortController() });
    Object.assign(this, { photos: [], rows: [], others: [], problems: [], groups: [], items: [], enrolled: new Map(), decided: new Map() });
    const ask = (event) => this.unfinished && event.preventDefault();
    window.addEventListener("beforeunload", ask, { signal: this.leaving.signal });
    this.learnNames();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
    strip();
  }

  // -- the plan -------------------------------------------------------------------------------------------------

  take({ photos, rows, others, problems }) {
    this.photos.push(...photos);
    this.rows.push(...rows);
    this.others.push(...others);
    this.problems.push(...problems);
    const folders = this.photos.some((photo) => photo.path.includes("/"));
    this.arrange(this.rows.length ? "table" : this.by && this.by !== "table" ? this.by : folders ? "folder" : "file");
  }

  /** Groups the photos by person: `by` is "folder", "file" or "table". What was decided about a person is kept. Photos without
   *  a name are groups of their own, since they may show anybody. */
  arrange(by) {
    for (const { key, name, included } of this.groups) this.decided.set(`${this.by} ${key}`, { name, included });
    this.by = by;
    const paths = this.photos.map((photo) => photo.path);
    this.missing = [];
    let names;
    if (by === "table") ({ names, missing: this.missing } = namesByTable(paths, this.rows));
    else names = by === "folder" ? namesByFolder(paths) : this.photos.map((photo) => nameOfFile(photo.name));
    const groups = new Map();
    this.photos.forEach((source, index) => {
      const name = names[index].normalize("NFC").trim();
      const key = name || `\0${source.path}`;
      if (!groups.has(key)) groups.set(key, Object.assign(new Group(key, name), this.decided.get(`${by} ${key}`)));
      const group = groups.get(key);
      group.items.push({ group, source, state: "waiting", options: {}, tries: 0 });
    });
    const order = new Intl.Collator(locale, { numeric: true });
    this.groups = [...groups.values()].sort((one, other) => Boolean(other.trouble) - Boolean(one.trouble) || order.compare(one.name, other.name));
    this.changed();
  }

  /** Reads who is enrolled, so that the plan says who is new. */
  async learnNames() {
    try {
      for (let offset = 0; ; offset += NAMES) {
        const { people, total } = await api("/people", { query: { offset, limit: NAMES }, signal: this.leaving.signal });
        for (const person of people) this.enrolled.set(person.name, person.photos);
        if (!people.length || offset + people.length >= total) break;
      }
      this.changed();
    } catch {
      // the plan then says nothing about it
    }
  }

  get chosen() {
    return this.groups.filter((group) => group.included);
  }

  get undecided() {
    return this.chosen.filter((group) => group.trouble);
  }

  // -- uploading ------------------------------------------------------------------------------------------------

  start() {
    this.items = this.chosen.filter((group) => !group.trouble).flatMap((group) => group.items);
    this.queue = [...this.items];
    this.state = "running";
    this.work();
  }

  pause(why = "") {
    if (this.state !== "running") return;
    this.state = "paused";
    this.why = why;
    this.changed();
  }

  resume() {
    this.times = [];
    this.why = "";
    this.state = "running";
    this.work();
  }

  work() {
    while (this.state === "running" && this.running < AT_ONCE && this.queue.length) {
      const next = this.queue.shift();
      if (next.state !== "waiting") continue;
      this.running += 1;
      this.send(next).finally(() => {
        this.running -= 1;
        this.work();
      });
    }
    if (this.state === "running" && !this.running && !this.queue.length) this.finish();
    this.changed();
  }

  async send(item) {
    this.say(item, "sending");
    const form = new FormData();
    form.set("subject", item.group.name.trim());
    const options = this.face === "largest" ? { face: "largest", ...item.options } : item.options;
    for (const [name, value] of Object.entries(options)) form.set(name, value);
    try {
      const file = await item.source.open();
      if (file.lastModified) form.set("taken", new Date(file.lastModified).toISOString());
      form.set("file", file, item.source.name);
      const { photos } = await api("/enroll", { form, signal: this.leaving.signal });
      const [photo] = photos;
      this.added += photo.status === "added" ? 1 : 0;
      this.times.push(performance.now());
      this.say(item, photo.status, (photo.warnings ?? []).map(warning).join(". "));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error instanceof ApiError && LATER.has(error.code) && ++item.tries < TRIES) {
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.wait ?? 1)));
        this.again([item]);
      } else if (error.status === 401 || error.code === "unreachable") {
        this.again([item]);
        this.pause(error.status === 401 ? t("The session has ended. Sign in, then continue.") : explain(error));
      } else this.refuse(item, error);
    }
  }

  say(item, state, words = "", code = "") {
    Object.assign(item, { state, words, code });
    this.changed();
  }

  refuse(item, error) {
    this.times.push(performance.now());
    const unreadable = !(error instanceof ApiError);
    const words = error instanceof ZipError ? sentence(error.message) : unreadable ? t("The browser could not read this file; it may have been moved.") : explain(error);
    item.canBeTriedAgain = unreadable || !error.status || error.status >= 500 || [403, 429].includes(error.status);
    this.say(item, "refused", words, unreadable ? "unreadable" : error.code);
    if (error.code !== "invalid_name" && error.code !== "name_taken") return;
    for (const other of item.group.items) if (other.state === "waiting") this.say(other, "refused", words, error.code); // the same name
  }

  /** Sends photos again, with more options such as {face: "largest"} or {force: "true"}. */
  again(items, options = {}) {
    for (const item of items) {
      Object.assign(item.options, options);
      item.state = "waiting";
    }
    this.queue.push(...items);
    if (this.state === "done") this.resume();
    else this.work();
  }

  /** Leaves photos out that were refused, or that wait. */
  leaveOut(items) {
    for (const item of items) item.state = "left out";
    this.changed();
  }

  /** Ends the uploads; what was not sent is listed with the photos that were refused. */
  stop() {
    for (const item of this.queue.splice(0)) if (item.state === "waiting") Object.assign(item, { state: "refused", code: "stopped", words: t("Not added: the import was ended.") });
    this.finish();
  }

  finish() {
    this.state = "done";
    this.changed();
    announce(this.outcome());
    if (location.hash !== ADDRESS) {
      const refused = this.of("refused").length;
      this.note = toast(this.outcome(), { action: [t("Show"), () => (location.hash = ADDRESS)], ...(refused ? { kind: "bad", stays: true } : {}) });
    }
  }

  // -- how far it is --------------------------------------------------------------------------------------------

  of(...states) {
    return this.items.filter((item) => states.includes(item.state));
  }

  /** Whether something would be lost if the page were closed now. */
  get unfinished() {
    if (this.state === "planned") return this.photos.length > 0;
    return this.state !== "done" || this.of("refused").length > 0;
  }

  get progress() {
    const left = this.of("waiting", "sending").length;
    return { all: this.items.length, over: this.items.length - left, left };
  }

  /** "3 min", by how long the last photos took; "" if that is not known yet. */
  get timeLeft() {
    const times = this.times.slice(-RECENT);
    const { left } = this.progress;
    if (this.state !== "running" || times.length < 4 || !left) return "";
    return lasting(((times.at(-1) - times[0]) / (times.length - 1) / 1000) * left);
  }

  /** "38 photos of 12 people added, 2 not added". */
  outcome() {
    const added = this.of("added");
    const people = new Set(added.map((item) => item.group.name.trim())).size;
    const [known, refused] = [this.of("known").length, this.of("refused").length];
    const words = [
      added.length && t("{photos} of {people} added", { photos: n(added.length, "{count} photo", "{count} photos"), people: n(people, "{count} person", "{count} people") }),
      known && n(known, "{count} already enrolled", "{count} already enrolled"),
      refused && n(refused, "{count} not added", "{count} not added"),
    ];
    return words.filter(Boolean).join(", ") || t("Nothing was added");
  }

  /** What happened to each photo, as CSV. */
  report() {
    const quoted = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    // a spreadsheet must not take a name for a formula
    const cell = (value) => quoted(/^[=+\-@\t]/.test(value) ? `'${value}` : value);
    const rows = this.items.map((item) => [item.source.path, item.group.name, item.state === "waiting" || item.state === "sending" ? "not sent yet" : item.state, item.code ?? "", item.words ?? ""]);
    return [["file", "name", "result", "code", "reason"], ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
  }

  discard() {
    this.leaving.abort();
    this.state = "done";
    this.items = this.photos = this.groups = this.queue = [];
    if (current === this) current = null;
    this.changed();
  }
}

// -- the strip below the header -------------------------------------------------------------------------------------------

export const ADDRESS = "#/import";

/** Draws the strip at most once a frame. */
let drawing = false;
function strip() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawStrip();
  });
}

function drawStrip() {
  let node = document.getElementById("job");
  const job = current;
  const shown = job && session.role && job.unfinished && location.hash !== ADDRESS;
  if (!shown) return void node?.remove();
  if (!node) {
    node = el("a", { id: "job", href: ADDRESS }, icon("upload"), el("span"), el("progress", { max: 1, "aria-label": t("Import") }));
    document.querySelector("main").before(node);
  }
  const [, words, bar] = node.children;
  const { all, over } = job.progress;
  const left = job.timeLeft;
  const refused = job.of("refused").length;
  const said = {
    planned: n(job.photos.length, "An import of {count} photo has not been started", "An import of {count} photos has not been started"),
    running: left ? t("Adding photos: {over} of {all} done, about {left} left", { over, all, left }) : t("Adding photos: {over} of {all} done", { over, all }),
    paused: t("The import is paused: {over} of {all} done", { over, all }),
    done: n(refused, "{count} photo of the import was not added", "{count} photos of the import were not added"),
  }[job.state];
  fill(words, said);
  bar.hidden = job.state === "planned" || job.state === "done";
  bar.value = all ? over / all : 0;
}

window.addEventListener("hashchange", strip);
