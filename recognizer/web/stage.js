// A photo with its results. Boxes are elements over the picture, positioned in percent of its size, so that they are drawn
// at screen resolution and can be reached with the keyboard.

import { el, fill, icon, svg } from "./dom.js";
import { decimal, percent, t } from "./i18n.js";

/** A photo and the results drawn on it.
 *
 *  `load(blob)` shows a picture and returns false if the browser cannot decode it; `show(result, objects, points)` draws
 *  the API's results; `mark(index)` highlights a face; `crop(box, size)` cuts a face out. `chosen(index)` is called when a
 *  face is clicked, focused or pointed at. */
export class Stage {
  constructor(chosen) {
    this.chosen = chosen;
    this.picture = el("img", { alt: t("Photo"), draggable: "false" });
    this.layer = el("div", { class: "stage-layer" });
    this.busy = el("div", { class: "stage-busy", hidden: true }, el("div", { class: "spinner" }), el("span", null, t("Processing...")));
    this.sheet = el("div", { class: "stage-sheet" }, this.picture, this.layer, this.busy);
    this.node = el("figure", { class: "stage" }, this.sheet);
    this.boxes = [];
    this.sizes = new ResizeObserver(() => this.thin());
    this.sizes.observe(this.layer);
  }

  async load(blob) {
    this.clear();
    const url = URL.createObjectURL(blob);
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = url;
    this.picture.src = url;
    this.picture.hidden = true; // until it is decoded
    try {
      await this.picture.decode();
    } catch {
      return false;
    }
    this.picture.hidden = false;
    this.resize(this.picture.naturalWidth, this.picture.naturalHeight);
    return true;
  }

  /** Gives the sheet the photo's aspect ratio, so that the layout does not shift when results arrive. */
  resize(width, height) {
    this.size = { width, height };
    this.sheet.style.setProperty("--ratio", width / height);
    this.sheet.style.setProperty("--most", `${2 * width}px`);
  }

  clear() {
    fill(this.layer);
    this.boxes = [];
  }

  close() {
    this.sizes.disconnect();
    if (this.url) URL.revokeObjectURL(this.url);
  }

  place(node, { left, top, right, bottom }) {
    const { width, height } = this.size;
    const share = (value, whole) => `${(100 * Math.max(0, Math.min(value, whole))) / whole}%`;
    node.style.setProperty("left", share(left, width));
    node.style.setProperty("top", share(top, height));
    node.style.setProperty("right", share(width - right, width));
    node.style.setProperty("bottom", share(height - bottom, height));
    return node;
  }

  show(result, objects, points) {
    this.clear();
    if (result) this.resize(result.image.width, result.image.height);
    for (const found of objects?.objects ?? []) this.layer.append(this.object(found));
    if (points && result) this.layer.append(this.landmarks(result.faces));
    this.boxes = (result?.faces ?? []).map((face, index) => this.face(face, index));
    this.layer.append(...this.boxes);
    this.thin();
  }

  /** Hides names that would overlap another name. The selected face has priority, then recognised people. The name of a face
   *  that is hovered is always shown. */
  thin() {
    const shown = [];
    const rank = (box) => (box.getAttribute("aria-pressed") === "true" ? 2 : Number(box.classList.contains("known")));
    const boxes = [...this.boxes].sort((one, other) => rank(other) - rank(one));
    const places = boxes.map((box) => box.querySelector(".face-name").getBoundingClientRect());
    boxes.forEach((box, index) => {
      const { left, top, right, bottom } = places[index];
      const free = shown.every((other) => left >= other.right || right <= other.left || top >= other.bottom || bottom <= other.top);
      if (free) shown.push(places[index]);
      box.classList.toggle("crowded", !free);
    });
  }

  object(found) {
    const under = found.box.top > this.size.height * 0.06 ? "" : "low";
    return this.place(
      el("div", { class: `object ${under}` }, el("span", null, `${found.label} ${percent(found.score)}`)), found.box,
    );
  }

  face(face, index) {
    const name = face.subject ?? t("Unknown");
    const low = face.box.top < this.size.height * 0.08 ? "low" : "";
    const side = (face.box.left + face.box.right) / 2 > this.size.width * 0.6 ? "end" : "";
    return this.place(
      el(
        "button",
        {
          type: "button", class: ["face", face.subject ? "known" : "unknown", low, side].filter(Boolean).join(" "),
          "aria-label": face.subject ? t("{name}, distance {distance}", { name, distance: decimal(face.distance, 2) }) : t("Unknown face"),
          "aria-pressed": "false", data: { index },
          on: { click: () => this.chosen(index), focus: () => this.chosen(index), pointerenter: (event) => event.pointerType === "mouse" && this.chosen(index) },
        },
        el("span", { class: "face-name" }, name),
      ),
      face.box,
    );
  }

  landmarks(faces) {
    const { width, height } = this.size;
    const points = faces.flatMap((face) => Object.values(face.landmarks ?? {}).flat());
    return svg(
      "svg",
      { class: "landmarks", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      ["under", "over"].map((name) => svg("path", { class: name, d: points.map(([x, y]) => `M${x} ${y}h0`).join("") })),
    );
  }

  mark(index) {
    this.boxes.forEach((box, each) => box.setAttribute("aria-pressed", String(each === index)));
    this.thin();
  }

  /** A canvas with a face and a margin around it. */
  crop(box, size = 96) {
    const canvas = el("canvas", { class: "crop", "aria-hidden": "true" });
    canvas.width = canvas.height = Math.round(size * Math.min(devicePixelRatio || 1, 3));
    this.cut(canvas, box, 0.7);
    return canvas;
  }

  /** The face as a JPEG of at most 1000 x 1000 pixels, with a margin large enough for the detector to find it again. */
  async portrait(box) {
    const canvas = el("canvas");
    const side = Math.max(box.right - box.left, box.bottom - box.top) * 2;
    canvas.width = canvas.height = Math.round(Math.min(1000, side * (this.picture.naturalWidth / this.size.width)));
    this.cut(canvas, box, 1);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  }

  cut(canvas, box, around) {
    const scale = this.picture.naturalWidth / this.size.width;
    const half = around * Math.max(box.right - box.left, box.bottom - box.top);
    const [x, y] = [(box.left + box.right) / 2 - half, (box.top + box.bottom) / 2 - half];
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.picture, x * scale, y * scale, 2 * half * scale, 2 * half * scale, 0, 0, canvas.width, canvas.height);
  }
}

/** A thumbnail of an enrolled face, or an icon if it cannot be loaded. */
export function thumbnail(src, text = "", options = {}) {
  const picture = el("img", { class: "crop", src, alt: text, loading: options.lazy ? "lazy" : undefined, decoding: "async" });
  picture.addEventListener("error", () => picture.replaceWith(el("span", { class: "crop missing" }, icon("face"))));
  return picture;
}

/** The distance and the threshold on a scale from similar to different. */
export function scale(face) {
  const most = Math.max(face.threshold * 1.25, face.distance * 1.05);
  const share = (value) => `${(100 * value) / most}%`;
  return el(
    "div", { class: `scale ${face.subject ? "known" : ""}`, "aria-hidden": "true" },
    el("div", { class: "scale-line" }, el("div", { class: "scale-named", style: { width: share(face.threshold) } }), el("div", { class: "scale-dot", style: { left: share(face.distance) } })),
    el("div", { class: "spread small muted" }, el("span", null, t("similar")), el("span", null, t("different"))),
  );
}
