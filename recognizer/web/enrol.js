// Adding photos of a person: dropped, chosen, pasted or from the camera, with what becomes of each.

import { announce, button, dialog, el, fill, icon, plural } from "./dom.js";
import { api, ApiError, explain } from "./api.js";
import { chooseButton, dropzone, takesDrops, takesPastes } from "./photos.js";
import { snap } from "./camera.js";
import { warning } from "./words.js";

const AT_ONCE = 2;
const PREVIEW = 56;
const LATER = new Set(["busy", "rate_limited", "starting"]);
const TRIES = 6;

/** Let people add photos. `options`: `subject` (asked for where it is null), `files` to begin with, `largest` (take the
 *  largest face of each), `names` to suggest. Resolves with {subject, added, files}, or null where nothing was added. */
export async function enrol(options = {}) {
  const adding = new Adding(options);
  const leaving = new AbortController();
  await dialog(
    options.subject ? `Add photos of ${options.subject}` : "Add a person",
    (close) => adding.build(leaving.signal, close),
    (close) => adding.buttons(close),
    { wide: true, onclose: () => (leaving.abort(), adding.leave()) },
  );
  return adding.added ? { subject: adding.subject, added: adding.added, files: adding.items.filter((item) => item.state === "added").map((item) => item.file) } : null;
}

class Adding {
  constructor({ subject = null, files = [], largest = false, names = [] }) {
    Object.assign(this, { subject, largest, names, begun: Boolean(subject) });
    this.items = [];
    this.running = this.added = 0;
    this.left = false;
    this.first = files;
  }

  build(signal, close) {
    this.close = close;
    this.list = el("ul", { class: "adding" });
    this.summary = el("p", { class: "muted", role: "status" });
    this.bar = el("progress", { max: 1, value: 0, hidden: true, "aria-label": "Photos done" });
    const take = (files) => this.take(files);
    const zone = dropzone(
      "Drop photos here", "Several at once, each of this one person. Five to ten that differ do best.",
      chooseButton("Choose photos", take, { several: true, kind: "" }),
      button("Use the camera", () => snap((file) => take([file]), true), { icon: "camera" }),
    );
    zone.classList.add("small-drop");
    const body = el("div", { class: "stack" }, !this.subject && this.nameField(), zone, this.bar, this.summary, this.list);
    takesDrops(body, take, signal);
    takesPastes(take, signal);
    this.take(this.first);
    return body;
  }

  nameField() {
    this.name = el("input", { id: "new-name", autocomplete: "off", spellcheck: "false", maxlength: "200", required: true, list: "known-names", autofocus: true, on: { input: () => this.update() } });
    this.name.addEventListener("keydown", (event) => event.key === "Enter" && !this.go.disabled && this.begin());
    this.problem = el("p", { class: "field-error", role: "alert" });
    const known = el("datalist", { id: "known-names" }, this.names.map((name) => el("option", { value: name })));
    return el("div", { class: "field" }, el("label", { for: "new-name" }, "Name"), this.name, known, this.problem);
  }

  buttons(close) {
    this.go = button("Add", () => this.begin(), { kind: "primary", hidden: this.begun, disabled: true });
    this.done = button("Done", () => close(), { hidden: !this.begun, kind: "primary" });
    this.update();
    return [this.go, this.done];
  }

  take(files) {
    for (const file of files) {
      const item = { file, state: "waiting", options: this.largest ? { face: "largest" } : {}, tries: 0 };
      item.words = el("span", { class: "adding-words" });
      item.actions = el("span", { class: "row" });
      item.mark = el("span", { class: "adding-mark" });
      item.node = el("li", null, preview(file), el("span", { class: "adding-name" }, file.name), item.words, item.actions, item.mark);
      this.items.push(item);
      this.list.append(item.node);
      this.say(item, "waiting");
    }
    this.update();
    if (this.begun) this.work();
  }

  begin() {
    this.subject = this.name.value.trim();
    if (!this.subject) return;
    this.begun = true;
    this.name.disabled = true;
    this.problem.textContent = "";
    this.go.hidden = true;
    this.done.hidden = false;
    this.done.focus();
    this.work();
  }

  leave() {
    this.left = true; // what is on its way arrives; what waits does not begin
  }

  work() {
    while (this.begun && this.running < AT_ONCE && !this.left) {
      const next = this.items.find((item) => item.state === "waiting");
      if (!next) break;
      this.running += 1;
      this.send(next).finally(() => {
        this.running -= 1;
        this.work();
        this.update();
      });
    }
    this.update();
  }

  async send(item) {
    this.say(item, "sending");
    const form = new FormData();
    form.set("subject", this.subject);
    for (const [name, value] of Object.entries(item.options)) form.set(name, value);
    form.set("file", item.file, item.file.name || "photo.jpg");
    try {
      const { subject, photos } = await api("/enroll", { form });
      this.subject = subject;
      const [photo] = photos;
      this.added += photo.status === "added" ? 1 : 0;
      this.say(item, photo.status, (photo.warnings ?? []).map(warning).join(". "));
    } catch (error) {
      if (error instanceof ApiError && LATER.has(error.code) && ++item.tries < TRIES) {
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.wait ?? 1)));
        item.state = "waiting";
        return;
      }
      this.refuse(item, error);
    }
  }

  refuse(item, error) {
    this.say(item, "refused", explain(error));
    const again = (text, options) =>
      button(text, () => {
        Object.assign(item.options, options);
        item.tries = 0;
        this.say(item, "waiting");
        this.work();
      }, { class: "little" });
    if (error.code === "several_faces") item.actions.append(again("Take the largest face", { face: "largest" }));
    else if (error.code === "looks_like_another") item.actions.append(again("Add it all the same", { force: "true" }));
    else if (!error.status || error.status >= 500 || error.status === 429) item.actions.append(again("Try again", {}));
    if (error.code === "invalid_name" || error.code === "name_taken") this.askNameAgain(error);
  }

  /** A name that cannot be: all goes back to waiting for another. */
  askNameAgain(error) {
    if (!this.name || this.added) return;
    this.begun = false;
    this.name.disabled = false;
    this.go.hidden = false;
    this.done.hidden = true;
    this.problem.textContent = explain(error);
    for (const item of this.items) if (item.state !== "added") this.say(item, "waiting");
    this.name.focus();
    this.name.select();
  }

  say(item, state, words = "") {
    item.state = state;
    item.node.className = state;
    const said = { waiting: "", sending: "Looking at it...", added: "Added", known: "Was there already", refused: "" }[state];
    fill(item.words, [said, words].filter(Boolean).join(". "));
    fill(item.actions);
    fill(item.mark, state === "sending" ? el("span", { class: "spinner" }) : state === "waiting" ? null : icon(state === "refused" ? "warning" : "check"));
    this.update();
  }

  update() {
    if (!this.go) return;
    const count = (state) => this.items.filter((item) => item.state === state).length;
    const [waiting, sending, refused, known] = ["waiting", "sending", "refused", "known"].map(count);
    const all = this.items.length;
    const over = all - waiting - sending;
    this.go.lastChild.textContent = all ? `Add ${plural(all, "photo")}` : "Add";
    this.go.disabled = !all || !this.name?.value.trim();
    this.bar.hidden = !this.begun || !all;
    this.bar.value = all ? over / all : 0;
    const parts = [this.added && `${this.added} added`, known && `${known} known already`, refused && `${refused} refused`].filter(Boolean);
    if (!this.begun) this.summary.textContent = all && !this.name.value.trim() ? "Now say who it is." : "";
    else this.summary.textContent = !all ? "" : over < all ? `${over} of ${all} done` : parts.join(", ");
    if (this.begun && all && over === all && !this.over) announce(parts.join(", "));
    this.over = this.begun && all > 0 && over === all;
  }
}

/** A small picture of a file; where the browser cannot read it, an icon. */
function preview(file) {
  const canvas = el("canvas", { class: "crop", "aria-hidden": "true" });
  const side = (canvas.width = canvas.height = PREVIEW * 2);
  createImageBitmap(file)
    .then((picture) => {
      const scale = Math.max(side / picture.width, side / picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      canvas.getContext("2d").drawImage(picture, (side - width) / 2, (side - height) / 4, width, height);
      picture.close();
    })
    .catch(() => canvas.replaceWith(el("span", { class: "crop missing" }, icon("image"))));
  return canvas;
}
