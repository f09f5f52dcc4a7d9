// The dialog for adding photos of a person. Shows the result for each photo. If it is closed while photos are uploaded, the
// upload continues in the background and a message shows its progress.

import { announce, button, confirm, dialog, el, fill, icon, toast } from "./dom.js";
import { api, ApiError, explain } from "./api.js";
import { chooseButton, dropzone, takesDrops, takesPastes } from "./photos.js";
import { snap } from "./camera.js";
import { n, t } from "./i18n.js";
import { pickFace } from "./pick.js";
import { warning } from "./words.js";

const AT_ONCE = 2;
const PREVIEW = 56;
const LATER = new Set(["busy", "rate_limited", "starting"]);
const TRIES = 6;

/** Opens the dialog. `options`: `subject` (the dialog asks for a name if null), `files` to start with, `largest` (use the
 *  largest face of each photo), `names` to suggest, `later` (called with the result when uploads that continued in the
 *  background are finished), `several` (takes the files if the user says that they show several people). Resolves when the dialog is closed, with {subject, added, files, pending}: `files` are the
 *  files that were added, `pending` counts those that are still to be uploaded. Resolves with null if nothing was added and
 *  nothing is pending. */
export async function enrol(options = {}) {
  const adding = new Adding(options);
  await adding.open();
  return adding.result();
}

class Adding {
  constructor({ subject = null, files = [], largest = false, names = [], later = null, several = null }) {
    Object.assign(this, { subject, largest, names, later, several, begun: Boolean(subject) });
    this.items = [];
    this.running = this.added = 0;
    this.list = el("ul", { class: "adding" });
    this.take(files);
  }

  async open() {
    const again = Boolean(this.progress);
    const unload = new AbortController();
    this.endBackground();
    window.addEventListener("beforeunload", (event) => this.items.length && !this.over && event.preventDefault(), { signal: unload.signal });
    await dialog(
      this.begun ? t("Add photos of {name}", { name: this.subject }) : t("Add a person"),
      (close) => this.build(unload.signal, close),
      (close) => this.buttons(close),
      { wide: true, onclose: () => unload.abort(), mayDismiss: () => this.mayDismiss() },
    );
    if (this.pending) this.continueInBackground();
    else if (again) this.later?.(this.result());
  }

  /** Asks before photos are discarded that were not uploaded yet. */
  mayDismiss() {
    if (this.begun || !this.items.length) return true;
    const count = this.items.length;
    return confirm(
      n(count, "Discard {count} photo?", "Discard {count} photos?"),
      n(count, "It has not been added. To add it, enter a name.", "They have not been added. To add them, enter a name."),
      n(count, "Discard {count} photo", "Discard {count} photos"),
    );
  }

  get pending() {
    return this.begun ? this.items.filter((item) => item.state === "waiting" || item.state === "sending").length : 0;
  }

  result() {
    const { subject, added, pending } = this;
    const files = this.items.filter((item) => item.state === "added").map((item) => item.file);
    return added || pending ? { subject, added, files, pending } : null;
  }

  // -- in the background ----------------------------------------------------------------------------------------

  continueInBackground() {
    this.unload = new AbortController();
    window.addEventListener("beforeunload", (event) => event.preventDefault(), { signal: this.unload.signal });
    this.progress = toast(this.progressWords(), { stays: true, quiet: true, icon: "upload", action: [t("Show"), () => this.open()] });
  }

  endBackground() {
    this.unload?.abort();
    this.progress?.close();
    this.progress = null;
  }

  progressWords() {
    return t("Adding photos of {name}: {done} of {all} done", { name: this.subject, done: this.items.length - this.pending, all: this.items.length });
  }

  /** Updates the message; reports the result when everything is uploaded. */
  sayBackground() {
    if (!this.progress) return;
    if (this.pending) return void this.progress.say(this.progressWords());
    this.endBackground();
    const show = () => this.open().then(() => this.pending || this.later?.(this.result()));
    const failed = !this.begun || this.count("refused") > 0;
    const words = this.begun ? `${this.subject}: ${this.outcome()}` : `${t("No photo of {name} was added.", { name: this.subject })} ${this.problem.textContent}`;
    toast(words, { action: [t("Show"), show], ...(failed ? { kind: "bad", stays: true } : {}) });
    this.later?.(this.result());
  }

  // -- the dialog -----------------------------------------------------------------------------------------------

  build(signal, close) {
    this.close = close;
    this.summary = el("p", { class: "muted", role: "status" });
    this.bar = el("progress", { max: 1, value: 0, hidden: true, "aria-label": t("Upload progress") });
    const take = (files) => this.take(files);
    const zone = dropzone(
      t("Drop photos here"), t("Each photo must show this person. Five to ten varied photos work best."),
      chooseButton(t("Choose photos"), take, { several: true, kind: "" }),
      button(t("Use the camera"), () => snap((file) => take([file]), true), { icon: "camera" }),
    );
    zone.classList.add("small-drop");
    const body = el("div", { class: "stack" }, (!this.subject || this.name) && this.nameField(), zone, this.bar, this.summary, this.list);
    queueMicrotask(() => takesDrops(body.closest("dialog"), take, signal));
    takesPastes(take, signal, body);
    return body;
  }

  nameField() {
    const value = this.name?.value ?? "";
    const said = this.problem?.textContent ?? "";
    this.name = el("input", { id: "new-name", value, disabled: this.begun, autocomplete: "off", spellcheck: "false", maxlength: "200", required: true, list: "known-names", autofocus: true, on: { input: () => this.update() } });
    this.name.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault(); // or the same key would press the button that gets the focus
      if (!event.repeat && !this.go.disabled) this.begin();
    });
    this.problem = el("p", { class: "field-error", role: "alert" }, said);
    const known = el("datalist", { id: "known-names" }, this.names.map((name) => el("option", { value: name })));
    return el("div", { class: "field" }, el("label", { for: "new-name" }, t("Name")), this.name, known, this.problem);
  }

  buttons(close) {
    this.go = button(t("Add"), () => this.begin(), { kind: "primary", hidden: this.begun, disabled: true });
    this.split = button(t("These are several people"), () => this.handOver(close), { icon: "people", kind: "quiet", hidden: true });
    this.largestForAll = button(t("Use the largest face"), () => this.useLargest(), { hidden: true });
    this.done = button(t("Done"), () => close(), { hidden: !this.begun, kind: "primary" }); // uploads continue in the background
    this.update();
    return [this.split, this.largestForAll, this.go, this.done];
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

  /** Gives the files to the import of many people. */
  handOver(close) {
    const files = this.items.splice(0).map((item) => item.file);
    close();
    this.several(files);
  }

  begin() {
    const name = this.name.value.trim();
    if (!name) return;
    this.subject = name;
    this.begun = true;
    this.name.disabled = true;
    this.problem.textContent = "";
    this.go.hidden = true;
    this.done.hidden = false;
    this.done.focus();
    this.work();
  }

  work() {
    while (this.begun && this.running < AT_ONCE) {
      const next = this.items.find((item) => item.state === "waiting");
      if (!next) break;
      this.running += 1;
      this.send(next).finally(() => {
        this.running -= 1;
        this.work();
        this.update();
        this.sayBackground();
      });
    }
    this.update();
  }

  async send(item) {
    this.say(item, "sending");
    const form = new FormData();
    form.set("subject", this.subject);
    for (const [name, value] of Object.entries(item.options)) form.set(name, value);
    if (item.file.lastModified) form.set("taken", new Date(item.file.lastModified).toISOString());
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
        this.say(item, "waiting");
        return;
      }
      this.refuse(item, error);
    }
  }

  refuse(item, error) {
    item.code = error.code;
    this.say(item, "refused", explain(error));
    const again = (text, options) =>
      button(text, () => {
        Object.assign(item.options, options);
        item.tries = 0;
        this.say(item, "waiting");
        this.work();
      }, { class: "little" });
    if (error.code === "several_faces") item.actions.append(again(t("Use the largest face"), { face: "largest" }), button(t("Choose the face"), () => this.pick(item), { class: "little", "aria-label": t("Choose the face on {name}", { name: item.file.name }) }));
    else if (error.code === "looks_like_another" || error.code === "poor_photo") item.actions.append(again(t("Add anyway"), { force: "true" }));
    else if (!error.status || error.status >= 500 || [401, 403, 429].includes(error.status)) item.actions.append(again(t("Try again"), {}));
    if (error.code === "invalid_name" || error.code === "name_taken") this.askNameAgain(error);
  }

  /** Sends a photo of several people again, with the face that the user points at. */
  async pick(item) {
    const picked = await pickFace(this.subject, async () => item.file);
    if (!picked || item.state !== "refused") return;
    item.options.face = picked.face;
    this.say(item, "waiting");
    this.work();
  }

  /** Uses the largest face on all photos that were refused because they show several people. */
  useLargest() {
    for (const item of this.severalFaces) {
      item.options.face = "largest";
      this.say(item, "waiting");
    }
    this.work();
  }

  get severalFaces() {
    return this.items.filter((item) => item.state === "refused" && item.code === "several_faces");
  }

  /** The name was rejected: asks for another one and resets the photos to waiting. */
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
    const said = { waiting: "", sending: t("Processing..."), added: t("Added"), known: t("Already enrolled"), refused: "" }[state];
    fill(item.words, [said, words].filter(Boolean).join(". "));
    fill(item.actions);
    fill(item.mark, state === "sending" ? el("span", { class: "spinner" }) : state === "waiting" ? null : icon(state === "refused" ? "warning" : "check"));
    this.update();
  }

  count(state) {
    return this.items.filter((item) => item.state === state).length;
  }

  /** "38 added, 2 rejected". */
  outcome() {
    const [refused, known] = [this.count("refused"), this.count("known")];
    return [this.added && n(this.added, "{count} added", "{count} added"), known && n(known, "{count} already enrolled", "{count} already enrolled"), refused && n(refused, "{count} rejected", "{count} rejected")].filter(Boolean).join(", ");
  }

  update() {
    if (!this.go) return;
    const all = this.items.length;
    const over = all - this.count("waiting") - this.count("sending");
    this.go.lastChild.textContent = all ? n(all, "Add {count} photo", "Add {count} photos") : t("Add");
    this.go.disabled = !all || !this.name?.value.trim();
    const several = this.severalFaces.length;
    this.largestForAll.hidden = several < 2;
    this.largestForAll.lastChild.textContent = t("Use the largest face in all {count}", { count: several });
    this.split.hidden = !this.several || this.begun || all < 2;
    this.done.lastChild.textContent = this.pending ? t("Continue in background") : t("Done");
    this.bar.hidden = !this.begun || !all;
    this.bar.value = all ? over / all : 0;
    if (!this.begun) this.summary.textContent = all && !this.name.value.trim() ? t("Enter a name to continue.") : "";
    else this.summary.textContent = !all ? "" : over < all ? t("{done} of {all} done", { done: over, all }) : this.outcome();
    if (this.begun && all && over === all && !this.over) announce(this.outcome());
    this.over = this.begun && all > 0 && over === all;
  }
}

/** A thumbnail of a file, or an icon if the browser cannot decode it. */
export function preview(file) {
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
