// Try: recognises the people in one photo.

import { handOver } from "./archive-search.js";
import { announce, button, copy, dialog, el, empty, fill, icon, toast, toggle, here } from "./dom.js";
import { api, explain, link, may, personPath, session, told } from "./api.js";
import { choose, chooseButton, dropzone, takesDrops, takesPastes } from "./photos.js";
import { snap } from "./camera.js";
import { enrol, preview } from "./enrol.js";
import { decimal, listed, n, number, t } from "./i18n.js";
import { scale, Stage, thumbnail } from "./stage.js";
import * as tried from "./tried.js";
import { CERTAINTY, certainty, distances, looks, oneIn, quoted } from "./words.js";

export const title = t("Try");

const CANDIDATES = 3;

/** Each photo has an address of its own, so that "Back" and "Forward" lead from one to the next. The photos stay in this tab, for
 *  the session that opened them; see tried.js. */
const RESULT = "photo", COMPARE = "compare";

export async function show(main, context) {
  if (context.parts[0] === COMPARE) return (await import("./compare.js")).showComparison(main, context);
  const view = new Try(main, context);
  view.begin();
  await tried.load();
  if (context.signal.aborted) return;
  view.listTried();
  if (context.parts[0] !== RESULT) return;
  const photo = tried.find(context.parts[1]);
  if (photo) view.open(photo);
  else history.replaceState(null, "", "#/try");
}

class Try {
  constructor(main, { signal, go }) {
    Object.assign(this, { main, signal, go });
    this.stage = new Stage((index) => this.select(index));
    this.wants = { landmarks: false, objects: false, looks: false };
    this.attributes = [];
    this.asked = new AbortController();
    this.health = api("/health", { signal }).catch(() => ({}));
    signal.addEventListener("abort", () => (this.asked.abort(), this.stage.close()));
  }

  begin() {
    this.take = (files) => {
      const photos = files.map((file) => tried.add({ blob: file, name: file.name || "photo.jpg" }));
      this.open(photos[0]);
    };
    takesDrops(this.main, this.take, this.signal);
    takesPastes(this.take, this.signal);
    this.hint = el("div", { class: "try-hint" });
    fill(
      this.main,
      el("div", { class: "view-head" }, el("div", null, el("h1", null, t("Who is in this photo?")), el("p", null, t("The photo stays on your server."))),
        button(t("Compare two photos"), () => this.go("try", COMPARE), { icon: "people" })),
      el(
        "div", { class: "try-start" },
        dropzone(t("Drop a photo here"), t("or several, or paste one anywhere on this page"),
          chooseButton(t("Choose a photo"), this.take, { several: true }), button(t("Use the camera"), () => snap((file) => this.take([file])), { icon: "camera" })),
        this.addressForm(),
        (this.strip = el("div")),
        this.hint,
      ),
    );
    this.tellNewcomers();
  }

  /** The photos of this session, to go from one to another. */
  listTried() {
    const photos = tried.all();
    if (!this.strip.isConnected || photos.length < (this.photo ? 2 : 1)) return void fill(this.strip);
    const forgetAll = () => {
      tried.clear();
      this.go("try");
      if (!this.photo) this.listTried();
    };
    fill(
      this.strip,
      el("section", { class: "tried", "aria-label": t("Photos of this session") },
        el("div", { class: "spread" }, el("h2", null, t("Photos of this session")), button(t("Forget all"), forgetAll, { kind: "quiet", class: "little" })),
        el("ul", { class: "row" }, photos.map((photo) => el("li", null,
          button("", () => this.open(photo), { class: "tried-photo", label: photo.name ?? photo.url, "aria-current": photo === this.photo ? "true" : undefined }))))),
    );
    this.strip.querySelectorAll("button.tried-photo").forEach((node, index) => {
      const { blob } = photos[index];
      fill(node, blob ? preview(blob) : el("span", { class: "crop missing" }, icon("link")));
    });
  }

  /** Saves the photo with boxes and names. */
  async save() {
    try {
      const query = { ...this.query, format: "jpeg" };
      const { url, blob, name } = this.photo;
      const drawn = url ? await api("/recognize", { json: { image_url: url, ...query }, accept: "image/jpeg", signal: this.signal }) : await api("/recognize", { query, body: blob, accept: "image/jpeg", signal: this.signal });
      const address = URL.createObjectURL(drawn);
      el("a", { href: address, download: `${(name ?? "photo").replace(/\.\w+$/, "")}-names.jpg` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      this.fail(error, true);
    }
  }

  addressForm() {
    const field = el("input", { type: "url", name: "url", required: true, placeholder: "https://example.org/photo.jpg", "aria-label": t("Photo URL"), autocomplete: "off" });
    const form = el(
      "form", { class: "try-address" },
      el("div", { class: "with-icon" }, icon("link"), field),
      el("button", { type: "submit", class: "button" }, t("Open")),
    );
    form.addEventListener("submit", (event) => (event.preventDefault(), this.open(tried.add({ url: field.value }))));
    return form;
  }

  async tellNewcomers() {
    const { counts } = await this.health;
    if (!counts || counts.subjects > 0 || !this.hint.isConnected) return;
    fill(
      this.hint,
      el("p", { class: "notice" }, icon("people"), el("span", null, t("Nobody is enrolled yet, so faces are detected but not named.")),
        el("a", { class: "button", href: "#/people" }, may("write") ? t("Add the first person") : t("People"))),
    );
  }

  // -- a photo ------------------------------------------------------------------------------------------------------

  async open(photo) {
    this.photo = photo;
    if (location.hash !== `#/try/${RESULT}/${photo.id}`) history.pushState(null, "", `#/try/${RESULT}/${photo.id}`);
    this.result = this.objects = null;
    this.selected = -1;
    this.frame();
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    this.wait(true);
    try {
      if (!photo.blob || !(await this.stage.load(photo.blob))) {
        await this.stage.load(await this.upright(signal)); // a format the browser cannot decode, or a photo from a URL
      }
      if (signal.aborted) return;
      await this.look();
    } catch (error) {
      this.fail(error);
    }
  }

  frame() {
    this.side = el("div", { class: "try-side" });
    fill(
      this.main,
      el(
        "div", { class: "view-head" },
        el("h1", { tabindex: "-1" }, t("Who is in this photo?")),
        el("div", { class: "row" },
          button(t("Another photo"), () => choose(this.take, true), { icon: "upload" }),
          button("", () => snap((file) => this.take([file])), { icon: "camera", label: t("Use the camera") }),
          button("", () => this.askAddress(), { icon: "link", label: t("Photo from a URL") })),
      ),
      el("div", { class: "try" }, el("div", { class: "try-photo" }, this.stage.node, this.switches(), (this.strip = el("div"))), this.side),
    );
    this.listTried();
    this.main.querySelector("h1").focus({ preventScroll: true });
  }

  askAddress() {
    dialog(t("Photo from a URL"), (close) => {
      const form = this.addressForm();
      form.addEventListener("submit", () => close());
      return form;
    });
  }

  switches() {
    const turn = (name) => (on) => {
      this.wants[name] = on;
      this.look().catch((error) => this.fail(error, true));
    };
    const row = el(
      "div", { class: "row try-switches" },
      toggle(t("68 landmarks"), this.wants.landmarks, turn("landmarks"), { title: t("The landmark model is not licensed for commercial use") }),
      toggle(t("Objects"), this.wants.objects, turn("objects")),
    );
    this.health.then(({ attributes = [] }) => {
      this.attributes = attributes;
      if (attributes.length) row.append(toggle(t("Looks"), this.wants.looks, turn("looks"), { title: t("How a face looks: not how old somebody is, who they are, or what they feel") }));
    });
    return row;
  }

  wait(on) {
    this.stage.busy.hidden = !on;
    if (on) fill(this.side, el("div", { class: "card stack" }, el("p", { class: "muted" }, t("Detecting faces..."))));
  }

  /** The photo as decoded by the server, without boxes: the minimum face size is larger than any face. */
  upright(signal) {
    const query = { min_face: 100000, format: "jpeg" };
    if (this.photo.url) return api("/detect", { json: { image_url: this.photo.url, ...query }, accept: "image/jpeg", signal });
    return api("/detect", { query, body: this.photo.blob, accept: "image/jpeg", signal });
  }

  ask(path, query) {
    const { signal } = this.asked;
    if (this.photo.url) return api(path, { json: { image_url: this.photo.url, ...query }, signal });
    return api(path, { query, body: this.photo.blob, signal });
  }

  get query() {
    return {
      top_k: CANDIDATES,
      ...(this.wants.landmarks ? { landmarks: "68" } : {}),
      ...(this.wants.looks ? { attributes: this.attributes.join(",") } : {}),
    };
  }

  /** Requests the results that are still missing, then draws everything. */
  async look() {
    const photo = this.photo;
    const lacks = (name) => !this.result.faces.every((face) => face[name]);
    const needs = !this.result || (this.wants.landmarks && lacks("landmarks")) || (this.wants.looks && lacks("attributes"));
    this.stage.busy.hidden = false;
    try {
      if (needs) {
        const found = await this.ask("/recognize", this.query);
        if (photo !== this.photo) return;
        this.result = found;
        this.told(found);
      }
      if (this.wants.objects && !this.objects) {
        const found = await this.ask("/objects", {});
        if (photo !== this.photo) return;
        this.objects = found;
      }
    } finally {
      if (photo === this.photo) this.stage.busy.hidden = true;
    }
    this.render();
  }

  render() {
    this.stage.show(this.result, this.wants.objects ? this.objects : null, this.wants.landmarks);
    this.panel();
    if (this.selected < 0 && this.result.faces.length) this.select(Math.max(0, this.result.faces.findIndex((face) => face.subject)), true);
    else if (this.selected >= 0) this.select(this.selected, true);
  }

  fail(error, kept = false) {
    if (error.name === "AbortError") return;
    this.stage.busy.hidden = true;
    if (kept) return toast(explain(error), { kind: "bad" });
    fill(this.side, el("div", { class: "notice bad", role: "alert" }, icon("warning"), el("span", null, explain(error))));
  }

  told({ faces }) {
    const known = faces.filter((face) => face.subject).map((face) => face.subject);
    announce(faces.length ? `${n(faces.length, "{count} face", "{count} faces")}: ${listed(known) || t("none recognised")}` : t("No face was found"));
  }

  // -- results --------------------------------------------------------------------------------------------------------

  panel() {
    const { faces, timing_ms: timing } = this.result;
    const known = faces.filter((face) => face.subject).length;
    this.cards = faces.map((face, index) => this.card(face, index));
    const objects = this.wants.objects && this.objects;
    fill(
      this.side,
      faces.length
        ? el("div", { class: "spread" }, el("h2", null, n(faces.length, "{count} face, {known} recognised", "{count} faces, {known} recognised", { known })), el("span", { class: "muted small number" }, t("{time} ms", { time: Math.round(timing.total) })))
        : el("div", { class: "card" }, empty("face", t("No face was found"), t("Try a photo that shows faces from the front, larger and in better light."))),
      el("ul", { class: "found" }, this.cards),
      objects && this.objectList(objects.objects),
      el("div", { class: "row" }, button(t("Save with names"), () => this.save(), { icon: "download" })),
      this.forPrograms(),
    );
  }

  objectList(found) {
    const counts = new Map();
    for (const { label } of found) counts.set(label, (counts.get(label) ?? 0) + 1);
    return el(
      "div", { class: "stack" },
      el("h2", null, found.length ? n(found.length, "{count} object", "{count} objects") : t("No objects")),
      found.length > 0 && el("ul", { class: "row" }, [...counts].map(([label, count]) => el("li", { class: "tag" }, count > 1 ? `${number(count)} × ${label}` : label))),
    );
  }

  card(face, index) {
    const sure = certainty(face);
    const head = el(
      "button",
      { type: "button", class: "found-head", "aria-expanded": "false", on: { click: () => this.select(this.selected === index ? -1 : index) } },
      this.stage.crop(face.box, 44),
      el("span", { class: "found-name", title: face.subject }, face.subject ?? (face.comparable ? t("Unknown") : t("Not comparable"))),
      face.ambiguous ? el("span", { class: "tag warn" }, t("ambiguous")) : sure && el("span", { class: `tag ${sure === "sure" ? "good" : ""}` }, CERTAINTY[sure]),
      el("span", { class: "muted small number" }, face.distance === null ? "" : decimal(face.distance, 2)),
    );
    return el("li", { class: `found-face ${face.subject ? "known" : ""}` }, head, el("div", { class: "found-body", hidden: true }));
  }

  /** Selects a face, on the photo and in the list. */
  select(index, quiet = false) {
    if (index === this.selected && !quiet) return;
    this.selected = index;
    this.stage.mark(index);
    this.cards?.forEach((card, each) => {
      const [head, body] = card.children;
      head.setAttribute("aria-expanded", String(each === index));
      body.hidden = each !== index;
      if (each === index) fill(body, this.details(this.result.faces[index]));
    });
  }

  details(face) {
    return [
      face.distance === null
        ? el("p", { class: "muted" }, t("Nobody is enrolled yet."))
        : [
            scale(face),
            el("dl", { class: "facts number" },
              el("dt", null, t("Distance")), el("dd", null, distances(face)),
              el("dt", null, t("Chance of a mix-up")), el("dd", null, oneIn(face.false_match_rate))),
          ],
      this.wants.looks && face.attributes && this.lookedAt(face.attributes),
      !face.comparable && el("p", { class: "notice warn" }, icon("warning"), el("span", null, t("This picture of a face could be anybody's, so it gets no name."))),
      face.remarks.map((each) => el("p", { class: "notice warn" }, icon("warning"), el("span", null, told(each)))),
      this.candidates(face),
      this.actions(face),
    ];
  }

  lookedAt(attributes) {
    return el(
      "dl", { class: "facts number looks", "aria-label": t("How the face looks") },
      looks(attributes).map(([name, words, said]) => [el("dt", null, name), el("dd", { class: said ? "" : "muted" }, words)]),
    );
  }

  candidates(face) {
    const found = face.candidates ?? [];
    if (!found.length) return null;
    return el(
      "ol", { class: "candidates", "aria-label": t("Most similar people") },
      found.map((each) =>
        el(
          "li", null,
          el("span", { class: "pair" }, this.stage.crop(face.box, 64), each.photo && thumbnail(link(personPath(each.subject, "photos", each.photo), { thumbnail: 1 }), t("Enrolled photo of {name}", { name: each.subject }))),
          el("a", { href: `#/people/${encodeURIComponent(each.subject)}`, title: each.subject }, each.subject),
          el("span", { class: `number small ${each.distance <= face.threshold ? "" : "muted"}` }, decimal(each.distance, 2)),
        ),
      ),
    );
  }

  actions(face) {
    const find = () => {
      handOver(this.photo.blob, face.box);
      location.hash = "#/archive/face";
    };
    const search = this.photo.blob && button(t("Find in the archive"), find, { icon: "search", class: "little" });
    if (!may("write")) return search && el("div", { class: "row" }, search);
    const add = async (subject) => {
      const portrait = await this.stage.portrait(face.box);
      const name = (this.photo.name ?? "photo").replace(/\.\w+$/, "");
      const photo = this.photo;
      const again = (done) => {
        if (!done?.added || this.signal.aborted || photo !== this.photo) return;
        this.result = null;
        this.look().catch((error) => this.fail(error, true));
      };
      again(await enrol({ subject, files: [new File([portrait], `${name}-face.jpg`, { type: "image/jpeg" })], largest: true, later: again }));
    };
    return el(
      "div", { class: "row" },
      face.subject
        ? button(t("Add to this person's photos"), () => add(face.subject), { icon: "add", class: "little" })
        : button(t("Add this person"), () => add(null), { icon: "add", kind: "primary", class: "little" }),
      search,
    );
  }

  // -- the same with the API ---------------------------------------------------------------------------------------------

  curl() {
    const server = here("/").replace(/\/$/, "");
    const key = session.key ? ['-H "X-Api-Key: $RECOGNIZER_KEY"'] : [];
    if (this.photo.url) {
      const fields = Object.entries(this.query).map(([name, value]) => `-d ${name}=${value}`);
      return ["curl -G", ...key, `--data-urlencode ${quoted(`image_url=${this.photo.url}`)}`, ...fields, quoted(`${server}/recognize`)].join(" ");
    }
    return ["curl", ...key, `--data-binary ${quoted(`@${this.photo.name}`)}`, quoted(link(`${server}/recognize`, this.query))].join(" ");
  }

  forPrograms() {
    const json = JSON.stringify(this.wants.objects && this.objects ? { ...this.result, objects: this.objects.objects } : this.result, null, 2);
    return el(
      "details", { class: "programs" },
      el("summary", null, icon("code"), el("span", null, t("The same with the API"))),
      el("h3", null, t("Request")),
      block(this.curl(), t("Copy request")),
      el("h3", null, t("Response")),
      block(json, t("Copy response")),
    );
  }
}

function block(text, label) {
  return el("div", { class: "code" }, el("pre", { tabindex: "0" }, text), button("", () => copy(text), { icon: "copy", kind: "quiet", class: "little", label }));
}
