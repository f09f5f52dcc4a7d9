// The camera wall: the pictures and the state of all cameras.
//
// A browser opens at most six connections to one server, so all visible cameras come over one (wall-stream.js); a camera that is
// shown alone has a stream of its own. Cameras that the server cannot put into that connection, since another node reads them,
// are refreshed with a still picture every few seconds. Cameras outside the viewport and cameras in a hidden tab are not loaded.

import { button, el, fill, icon, toast } from "./dom.js";
import { api, explain, link } from "./api.js";
import { isolated, t } from "./i18n.js";
import { reasonWords } from "./reasons.js";
import { moment, when } from "./times.js";
import { followWall } from "./wall-stream.js";

const STILL_EVERY = 2500;
/** How long the cameras that are to be seen must stay the same before the connection is opened anew, while scrolling. */
const SETTLED = 150;
const RETRY = 2000;
/** Up to so many cameras are shown large. */
const FEW = 4;
/** States with a current picture. In other states stills are requested less often; a request also starts an idle camera. */
const PICTURES = new Set(["live", "frozen"]);
const PATIENCE = 15000;
const WIDTHS = [320, 480, 640, 960, 1280, 1920];

const path = (id, what) => `/cameras/${encodeURIComponent(id)}/${what}`;

/** The state of a camera as [label, severity, explanation]; the severity is "good", "warn", "bad" or "". */
export function stateWords({ name, reason, since }) {
  const from = moment(since);
  const at = when(from);
  const why = reasonWords(reason);
  return {
    live: [t("Live"), why ? "warn" : "good", why ? t("Live, but: {reason}.", { reason: why }) : ""],
    connecting: [t("Connecting"), "", why ?? ""],
    frozen: [t("Frozen since {at}", { at }), "warn", why ? t("No new picture since {at}: {reason}.", { at, reason: why }) : t("No new picture since {at}.", { at })],
    lost: [t("Disconnected since {at}", { at }), "bad", [why ? t("Disconnected since {at}: {reason}.", { at, reason: why }) : t("Disconnected since {at}.", { at }), t("Reconnecting automatically.")].join(" ")],
    ended: [t("Ended"), "", t("The recording has ended.")],
    idle: [t("Not running"), "", t("Starts when somebody is watching.")],
  }[name] ?? [name, "", why ?? ""];
}

export class Wall {
  /** `overlay()` returns the overlays to draw, `tools(camera, card)` the buttons of a camera; `open(camera)` shows only one. */
  constructor({ signal, overlay, tools, open, alone }) {
    Object.assign(this, { signal, overlay, tools, open, alone });
    this.node = el("div", { class: `wall ${alone ? "alone" : ""}` });
    this.cards = new Map();
    /** Ids of the cameras that are not in the connection. */
    this.left = new Set();
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) this.cards.get(entry.target.dataset.camera)?.setVisible(entry.isIntersecting);
      this.arrange();
    }, { rootMargin: "80px" });
    const arrange = () => this.arrange();
    document.addEventListener("visibilitychange", arrange, { signal });
    window.addEventListener("pagehide", () => this.stop(), { signal });
    window.addEventListener("pageshow", arrange, { signal });
    signal.addEventListener("abort", () => this.stop());
    this.stills();
  }

  /** Shows these cameras; streams of cameras that are already shown continue. */
  update(cameras) {
    const wanted = new Set(cameras.map((each) => each.id));
    for (const [id, card] of this.cards) {
      if (wanted.has(id)) continue;
      card.halt();
      this.seen.unobserve(card.node);
      card.node.remove();
      this.cards.delete(id);
    }
    cameras.forEach((camera, place) => {
      let card = this.cards.get(camera.id);
      if (!card) {
        card = new Card(camera, this);
        this.cards.set(camera.id, card);
        this.seen.observe(card.node);
      }
      card.tell(camera);
      if (this.node.children[place] !== card.node) this.node.insertBefore(card.node, this.node.children[place] ?? null);
    });
    this.node.classList.toggle("single", cameras.length === 1);
    this.node.dataset.many = String(cameras.length > FEW);
    if (this.asked && [...this.asked.ids].some((id) => !wanted.has(id))) this.arrange();
  }

  /** Restarts all streams, after the overlays changed or the connection was lost. */
  restart() {
    this.stop();
    this.left.clear();
    this.arrange();
  }

  /** Shows that the state of all cameras is unknown. */
  doubt(words) {
    for (const card of this.cards.values()) card.say(words, "bad", "");
  }

  stop() {
    this.disconnect();
    for (const card of this.cards.values()) card.halt();
  }

  arrange() {
    if (this.signal.aborted) return;
    const together = [];
    for (const card of [...this.node.children].map((node) => this.cards.get(node.dataset.camera))) {
      if (document.hidden || !card.visible) card.halt();
      else if (this.alone) card.stream();
      else if (this.left.has(card.id)) card.still();
      else together.push(card);
    }
    for (const card of together) card.follow();
    clearTimeout(this.settling);
    if (!together.length) return this.disconnect();
    const ids = together.map((card) => card.id);
    const queries = together.map((card) => card.query());
    const query = { cameras: ids.join(","), overlay: this.overlay(), width: Math.max(...queries.map((each) => each.width)) };
    const key = JSON.stringify(query);
    if (this.asked?.key === key) return;
    const first = !this.asked;
    this.settling = setTimeout(() => this.connect({ key, ids: new Set(ids) }, query), first ? 0 : SETTLED);
  }

  /** Another node reads this camera from now on: whether it is in the connection has to be asked again. */
  moved(id) {
    this.left.delete(id);
    if (this.asked) this.asked.key = null;
  }

  disconnect() {
    clearTimeout(this.settling);
    clearTimeout(this.retry);
    this.asked?.stop.abort();
    this.asked = null;
  }

  async connect(asked, query) {
    this.disconnect();
    asked.stop = new AbortController();
    this.asked = asked;
    const cards = () => [...asked.ids].map((id) => this.cards.get(id)).filter((card) => card?.mode === "wall");
    try {
      await followWall(query, {
        signal: asked.stop.signal,
        begun: (there) => {
          for (const id of asked.ids) if (!there.includes(id)) this.left.add(id);
          for (const card of cards()) if (this.left.has(card.id)) card.still();
        },
        shown: (id, picture) => this.asked === asked && this.cards.get(id)?.put(picture),
      });
    } catch {
      // the badges show the cameras' states, and the page whether the server responds
    }
    if (this.asked !== asked) return;
    for (const card of cards()) card.halt();
    this.asked = { ...asked, key: null }; // the server is busy or unreachable, or a camera was removed
    this.retry = setTimeout(() => ((this.asked = null), this.arrange()), RETRY);
  }

  /** Refreshes the stills one after the other, so that they use one connection in total. */
  async stills() {
    while (!this.signal.aborted) {
      const waiting = [...this.cards.values()].filter((card) => card.mode === "still");
      for (const card of waiting) await card.refresh();
      await new Promise((done) => setTimeout(done, waiting.length ? STILL_EVERY / waiting.length : 500));
    }
    this.seen.disconnect();
  }
}

class Card {
  constructor(camera, wall) {
    this.wall = wall;
    this.id = camera.id;
    this.mode = "halted";
    this.visible = false;
    this.picture = el("img", { alt: "", draggable: "false" });
    this.picture.addEventListener("load", () => this.screen.classList.add("shown"));
    this.picture.addEventListener("error", () => this.failed());
    this.badge = el("span", { class: "watch-state" });
    this.blank = el("span", { class: "watch-blank", "aria-hidden": "true" }, icon("camera"), el("span"));
    this.slow = el("span", { class: "watch-slow", hidden: true, title: t("Another server reads this camera. Open it to see it live.") }, t("Updates every few seconds"));
    this.name = el("h2");
    this.about = el("p", { class: "muted small" });
    this.why = el("p", { class: "watch-why small", hidden: true });
    this.buttons = el("div", { class: "row watch-tools" });
    this.screen = el(
      "div", { class: "watch-screen" }, this.blank, this.picture, this.slow,
      !wall.alone && button("", () => wall.open(this.camera), { icon: "expand", label: t("Open this camera"), class: "watch-open" }),
    );
    this.node = el("article", { class: "watch", data: { camera: camera.id } }, this.screen, el("div", { class: "watch-foot" }, el("div", null, el("div", { class: "watch-title" }, this.name, this.badge), this.about), this.buttons), this.why);
  }

  tell(camera) {
    const before = this.camera;
    this.camera = camera;
    const moved = before && before.node !== camera.node; // another node reads it now
    if (moved) this.wall.moved(this.id);
    if (before && (moved || before.source !== camera.source)) this.halt(), queueMicrotask(() => this.wall.arrange());
    if (!before || before.name !== camera.name) {
      this.name.textContent = camera.name;
      this.picture.alt = t("View from {name}", { name: camera.name });
    }
    if (!before || before.name !== camera.name || before.source !== camera.source || before.fixed !== camera.fixed || before.always !== camera.always) {
      fill(this.buttons, this.wall.tools(camera, this));
    }
    this.say(...stateWords(camera.state));
    const about = [
      isolated(camera.source),
      camera.state.name === "live" && camera.fps && t("{rate} fps", { rate: Math.round(camera.fps) }),
      camera.always && t("always on"),
      camera.fixed && t("set by {setting}", { setting: "RECOGNIZER_CAMERA" }),
      camera.turn_wanted && t("all faces lie: edit it and put {word} before the source", { word: `turn${camera.turn_wanted}:` }),
    ].filter(Boolean).join(t(", "));
    if (this.about.textContent !== about) this.about.textContent = about;
  }

  say(words, kind, why) {
    if (this.badge.textContent !== words) fill(this.badge, el("i"), words);
    this.badge.className = `watch-state ${kind}`;
    this.blank.lastChild.textContent = kind === "good" ? "" : words;
    this.why.hidden = !why || kind === "good" || !kind;
    if (this.why.textContent !== why) this.why.textContent = why;
  }

  setVisible(visible) {
    this.visible = visible;
  }

  query() {
    const wanted = this.screen.clientWidth * Math.min(2, devicePixelRatio || 1);
    return { overlay: this.wall.overlay(), width: WIDTHS.find((each) => each >= wanted) ?? WIDTHS.at(-1) };
  }

  stream() {
    if (this.mode === "stream") return;
    this.halt();
    this.mode = "stream";
    this.picture.src = link(path(this.id, "stream"), this.query());
  }

  /** Shows the pictures that come over the wall's connection. */
  follow() {
    if (this.mode === "wall") return;
    this.halt();
    this.mode = "wall";
  }

  /** Shows a picture; of those that come while it is decoded, only the newest is shown next. */
  async put(picture) {
    if (this.mode !== "wall") return;
    this.next = picture;
    if (this.decoding) return;
    this.decoding = true;
    while (this.next && this.mode === "wall") {
      const before = this.address;
      this.address = URL.createObjectURL(this.next);
      this.next = null;
      this.picture.src = this.address;
      await this.picture.decode().catch(() => {});
      if (before) URL.revokeObjectURL(before);
    }
    this.decoding = false;
  }

  /** Saves the picture of this moment, as it is shown, as a file. */
  async save() {
    try {
      const taken = await api(path(this.id, "snapshot.jpg"), { query: { overlay: this.wall.overlay() }, accept: "image/jpeg", signal: this.wall.signal });
      const address = URL.createObjectURL(taken);
      const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
      el("a", { href: address, download: `${this.id}-${time}.jpg` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
      toast(t("The picture was saved"));
    } catch (error) {
      if (error.name !== "AbortError") toast(explain(error), { kind: "bad" });
    }
  }

  still() {
    if (this.mode === "still") return;
    this.halt();
    this.mode = "still";
    this.asked = 0;
  }

  async refresh() {
    if (this.mode !== "still" || (!PICTURES.has(this.camera.state.name) && Date.now() - this.asked < PATIENCE)) return;
    this.asked = Date.now();
    try {
      const taken = await api(link(path(this.id, "snapshot.jpg"), this.query()), { accept: "image/jpeg", signal: this.wall.signal });
      if (this.mode !== "still") return;
      const before = this.picture.src;
      this.picture.src = URL.createObjectURL(taken);
      await this.picture.decode().catch(() => {});
      if (before.startsWith("blob:")) URL.revokeObjectURL(before);
      this.slow.hidden = this.mode !== "still";
    } catch {
      // the badge shows the camera's state
    }
  }

  /** The stream failed, because the server is busy or unreachable: tries again shortly. */
  failed() {
    if (this.mode !== "stream") return;
    this.screen.classList.remove("shown");
    this.mode = "failed";
    this.picture.removeAttribute("src");
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.mode === "failed" && ((this.mode = "halted"), this.wall.arrange()), RETRY);
  }

  halt() {
    clearTimeout(this.retry);
    if (this.mode === "halted") return;
    this.mode = "halted";
    this.picture.removeAttribute("src"); // closes the connection
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = this.next = null;
    this.slow.hidden = true;
    this.screen.classList.remove("shown");
  }
}
