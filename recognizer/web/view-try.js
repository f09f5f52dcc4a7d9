// Try: a photo in, who is on it out.

import { announce, button, copy, dialog, el, empty, fill, icon, plural, toast, toggle } from "./dom.js";
import { api, explain, link, may, personPath, session } from "./api.js";
import { choose, chooseButton, dropzone, takesDrops, takesPastes } from "./photos.js";
import { snap } from "./camera.js";
import { enrol } from "./enrol.js";
import { Stage, thumbnail } from "./stage.js";
import { oneIn, quoted, REMARKS } from "./words.js";

export const title = "Try";

const CANDIDATES = 3;

export async function show(main, context) {
  new Try(main, context).begin();
}

class Try {
  constructor(main, { signal, go }) {
    Object.assign(this, { main, signal, go });
    this.stage = new Stage((index) => this.select(index));
    this.wants = { landmarks: false, objects: false };
    this.asked = new AbortController();
    signal.addEventListener("abort", () => (this.asked.abort(), this.stage.close()));
  }

  begin() {
    this.take = (files) => this.open({ blob: files[0], name: files[0].name || "photo.jpg" });
    takesDrops(this.main, this.take, this.signal);
    takesPastes(this.take, this.signal);
    this.hint = el("div", { class: "try-hint" });
    fill(
      this.main,
      el("div", { class: "view-head" }, el("div", null, el("h1", null, "Who is on this photo?"), el("p", null, "It is looked at on this server, and goes nowhere else."))),
      el(
        "div", { class: "try-start" },
        dropzone("Drop a photo of somebody", "or paste one, anywhere on this page",
          chooseButton("Choose a photo", this.take), button("Use the camera", () => snap((file) => this.take([file])), { icon: "camera" })),
        this.addressForm(),
        this.hint,
      ),
    );
    this.tellNewcomers();
  }

  addressForm() {
    const field = el("input", { type: "url", name: "url", required: true, placeholder: "https://example.org/photo.jpg", "aria-label": "Address of a photo", autocomplete: "off" });
    const form = el(
      "form", { class: "try-address" },
      el("div", { class: "with-icon" }, icon("link"), field),
      el("button", { type: "submit", class: "button" }, "Look"),
    );
    form.addEventListener("submit", (event) => (event.preventDefault(), this.open({ url: field.value })));
    return form;
  }

  async tellNewcomers() {
    const { counts } = await api("/health", { signal: this.signal }).catch(() => ({}));
    if (!counts || counts.subjects > 0 || !this.hint.isConnected) return;
    fill(
      this.hint,
      el("p", { class: "notice" }, icon("people"), el("span", null, "Nobody is enrolled yet, so faces will be found but not named."),
        el("a", { class: "button", href: "#/people" }, may("write") ? "Add the first person" : "People")),
    );
  }

  // -- a photo ------------------------------------------------------------------------------------------------------

  async open(photo) {
    this.photo = photo;
    this.result = this.objects = null;
    this.selected = -1;
    this.frame();
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    this.wait(true);
    try {
      if (!photo.blob || !(await this.stage.load(photo.blob))) {
        await this.stage.load(await this.upright(signal)); // a format that browsers do not show, or another site's
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
        el("h1", { tabindex: "-1" }, "Who is on this photo?"),
        el("div", { class: "row" },
          button("Another photo", () => choose(this.take), { icon: "upload" }),
          button("", () => snap((file) => this.take([file])), { icon: "camera", label: "Use the camera" }),
          button("", () => this.askAddress(), { icon: "link", label: "A photo by its address" })),
      ),
      el("div", { class: "try" }, el("div", { class: "try-photo" }, this.stage.node, this.switches()), this.side),
    );
    this.main.querySelector("h1").focus({ preventScroll: true });
  }

  askAddress() {
    dialog("A photo by its address", (close) => {
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
    return el(
      "div", { class: "row try-switches" },
      toggle("68 landmarks", this.wants.landmarks, turn("landmarks"), { title: "Their file is not licensed for commercial use" }),
      toggle("Objects", this.wants.objects, turn("objects")),
    );
  }

  wait(on) {
    this.stage.busy.hidden = !on;
    if (on) fill(this.side, el("div", { class: "card stack" }, el("p", { class: "muted" }, "Looking for faces...")));
  }

  /** The photo as the server reads it, with nothing drawn: no face has as many pixels as are asked for. */
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
    return { top_k: CANDIDATES, ...(this.wants.landmarks ? { landmarks: "68" } : {}) };
  }

  /** Ask what is still missing, then show all of it. */
  async look() {
    const photo = this.photo;
    const needs = !this.result || (this.wants.landmarks && !this.result.faces.every((face) => face.landmarks));
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
    if (this.selected < 0 && this.result.faces.length) this.select(0, true);
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
    announce(faces.length ? `${plural(faces.length, "face")}: ${known.join(", ") || "nobody known"}` : "No face was found");
  }

  // -- what was found -------------------------------------------------------------------------------------------------

  panel() {
    const { faces, timing_ms: timing } = this.result;
    const known = faces.filter((face) => face.subject).length;
    this.cards = faces.map((face, index) => this.card(face, index));
    const objects = this.wants.objects && this.objects;
    fill(
      this.side,
      faces.length
        ? el("div", { class: "spread" }, el("h2", null, `${plural(faces.length, "face")}, ${known} known`), el("span", { class: "muted small number" }, `${Math.round(timing.total)} ms`))
        : el("div", { class: "card" }, empty("face", "No face was found", "Try a photo that shows faces from the front, larger and in better light.")),
      el("ul", { class: "found" }, this.cards),
      objects && this.objectList(objects.objects),
      this.forPrograms(),
    );
  }

  objectList(found) {
    const counts = new Map();
    for (const { label } of found) counts.set(label, (counts.get(label) ?? 0) + 1);
    return el(
      "div", { class: "stack" },
      el("h2", null, found.length ? plural(found.length, "object") : "No objects"),
      found.length > 0 && el("ul", { class: "row" }, [...counts].map(([label, count]) => el("li", { class: "tag" }, count > 1 ? `${count} × ${label}` : label))),
    );
  }

  card(face, index) {
    const head = el(
      "button",
      { type: "button", class: "found-head", "aria-expanded": "false", on: { click: () => this.select(this.selected === index ? -1 : index) } },
      this.stage.crop(face.box, 44),
      el("span", { class: "found-name" }, face.subject ?? "Unknown"),
      face.ambiguous && el("span", { class: "tag warn" }, "ambiguous"),
      el("span", { class: "muted small number" }, face.distance === null ? "" : face.distance.toFixed(2)),
    );
    return el("li", { class: `found-face ${face.subject ? "known" : ""}` }, head, el("div", { class: "found-body", hidden: true }));
  }

  /** Set one face apart, on the photo and in the list. */
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
    const remarks = face.quality.remarks.map((code) => REMARKS[code] ?? code);
    return [
      face.distance === null
        ? el("p", { class: "muted" }, "Nobody is enrolled to compare with.")
        : [
            this.scale(face),
            el("dl", { class: "facts number" },
              el("dt", null, "Distance"), el("dd", null, `${face.distance} (a name up to ${face.threshold})`),
              el("dt", null, "This alike by chance"), el("dd", null, `${oneIn(face.false_match_rate)} pairs of different people`)),
          ],
      remarks.length > 0 && el("p", { class: "notice warn" }, icon("warning"), el("span", null, `This picture of the face is ${remarks.join(" and ")}.`)),
      this.candidates(face),
      this.actions(face),
    ];
  }

  /** The distance on a line from the same photo to a stranger, with the threshold on it. */
  scale(face) {
    const most = Math.max(face.threshold * 1.25, face.distance * 1.05);
    const share = (value) => `${(100 * value) / most}%`;
    return el(
      "div", { class: `scale ${face.subject ? "known" : ""}`, "aria-hidden": "true" },
      el("div", { class: "scale-line" }, el("div", { class: "scale-named", style: { width: share(face.threshold) } }), el("div", { class: "scale-dot", style: { left: share(face.distance) } })),
      el("div", { class: "spread small muted" }, el("span", null, "alike"), el("span", null, "different")),
    );
  }

  candidates(face) {
    const found = face.candidates ?? [];
    if (!found.length) return null;
    return el(
      "ol", { class: "candidates", "aria-label": "Who it resembles most" },
      found.map((each) =>
        el(
          "li", null,
          el("span", { class: "pair" }, this.stage.crop(face.box, 64), each.photo && thumbnail(link(personPath(each.subject, "photos", each.photo), { thumbnail: 1 }), `Enrolled photo of ${each.subject}`)),
          el("a", { href: `#/people/${encodeURIComponent(each.subject)}` }, each.subject),
          el("span", { class: `number small ${each.distance <= face.threshold ? "" : "muted"}` }, each.distance.toFixed(2)),
        ),
      ),
    );
  }

  actions(face) {
    if (!may("write")) return null;
    const add = async (subject) => {
      const portrait = await this.stage.portrait(face.box);
      const name = (this.photo.name ?? "photo").replace(/\.\w+$/, "");
      const added = await enrol({ subject, files: [new File([portrait], `${name}-face.jpg`, { type: "image/jpeg" })], largest: true });
      if (added && !this.signal.aborted) {
        this.result = null;
        this.look().catch((error) => this.fail(error, true));
      }
    };
    return el(
      "div", { class: "row" },
      face.subject
        ? button("Add this face to their photos", () => add(face.subject), { icon: "add", class: "little" })
        : button("Add this person", () => add(null), { icon: "add", kind: "primary", class: "little" }),
    );
  }

  // -- for programs -----------------------------------------------------------------------------------------------------

  curl() {
    const server = location.origin;
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
      el("summary", null, icon("code"), el("span", null, "The same from a program")),
      el("h3", null, "Request"),
      block(this.curl(), "Copy the request"),
      el("h3", null, "Answer"),
      block(json, "Copy the answer"),
    );
  }
}

function block(text, label) {
  return el("div", { class: "code" }, el("pre", { tabindex: "0" }, text), button("", () => copy(text), { icon: "copy", kind: "quiet", class: "little", label }));
}
