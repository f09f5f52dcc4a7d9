// Draws zones and masks on a camera's picture, with the mouse, a finger or the keyboard.
//
// Points are fractions of the picture. An area that is being drawn is the `draft`: clicks, or Enter at the cross that the arrow
// keys move, add corners; the first corner closes it. Corners of finished areas are buttons that are dragged or moved with arrows.

import { announce, button, el, fill, svg } from "./dom.js";
import { n, t } from "./i18n.js";

const STEP = 0.01, LARGE_STEP = 0.05;
/** How close to the first corner a point closes the area, in fractions of the picture. */
const CLOSE = 0.025;
const LEAST_CORNERS = 3, MOST_CORNERS = 64, MOST_AREAS = 16;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value) => Math.round(1e4 * Math.min(1, Math.max(0, value))) / 1e4;

export class AreaEditor {
  /** `zones` and `masks` as the API has them; `changed()` is called after each change. */
  constructor({ zones, masks, changed }) {
    this.areas = [...zones.map((each) => ({ kind: "zone", name: each.name, points: each.points })), ...masks.map((each) => ({ kind: "mask", name: "", points: each.points }))];
    this.changed = changed;
    this.draft = null;
    this.cross = [0.5, 0.5];
    this.picture = el("img", { alt: "", draggable: "false", hidden: true });
    this.shapes = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.corners = el("div", { class: "area-corners" });
    this.aim = el("div", { class: "area-cross", hidden: true });
    this.sheet = el(
      "div",
      {
        class: "area-sheet", tabindex: "0", role: "application", "aria-label": t("Picture of the camera"), "aria-describedby": "area-help",
        on: { click: (event) => this.click(event), dblclick: () => this.finish(), keydown: (event) => this.key(event), pointermove: (event) => this.point(event) },
      },
      this.picture, this.shapes, this.corners, this.aim,
    );
    this.help = el("p", { id: "area-help", class: "muted small" });
    this.bar = el("div", { class: "row" });
    this.list = el("ul", { class: "area-list", "aria-label": t("Zones and masks") });
    this.node = el("div", { class: "stack" }, this.sheet, this.help, this.bar, this.list);
    this.show();
  }

  get zones() {
    return this.areas.filter((each) => each.kind === "zone").map(({ name, points }) => ({ name: name.trim(), points }));
  }

  get masks() {
    return this.areas.filter((each) => each.kind === "mask").map(({ points }) => ({ points }));
  }

  /** The picture to draw on, a Blob; areas can be drawn without one. */
  async load(blob) {
    const address = URL.createObjectURL(blob);
    this.picture.src = address;
    await this.picture.decode().catch(() => {});
    URL.revokeObjectURL(address);
    if (!this.picture.naturalWidth) return;
    this.picture.hidden = false;
    this.sheet.style.setProperty("--ratio", this.picture.naturalWidth / this.picture.naturalHeight);
  }

  // -- drawing --------------------------------------------------------------------------------------------------

  begin(kind) {
    this.draft = { kind, points: [] };
    this.cross = [0.5, 0.5];
    this.show();
    this.sheet.focus();
  }

  at(event) {
    const { left, top, width, height } = this.sheet.getBoundingClientRect();
    return [within((event.clientX - left) / width), within((event.clientY - top) / height)];
  }

  click(event) {
    if (!this.draft || event.detail > 1) return;
    this.cross = this.at(event);
    this.add();
  }

  point(event) {
    if (!this.draft || event.pointerType !== "mouse") return;
    this.cross = this.at(event);
    this.draw();
  }

  add() {
    const { points } = this.draft;
    const [x, y] = this.cross;
    const near = points.length && Math.hypot(x - points[0][0], y - points[0][1]) < CLOSE;
    if (near && points.length >= LEAST_CORNERS) return this.finish();
    if (near || points.length >= MOST_CORNERS) return;
    points.push([x, y]);
    announce(n(points.length, "{count} corner", "{count} corners"));
    this.show();
  }

  finish() {
    if (!this.draft || this.draft.points.length < LEAST_CORNERS) return;
    const area = { ...this.draft, name: "" };
    this.draft = null;
    this.areas.push(area);
    this.show();
    this.changed();
    this.list.lastChild.querySelector("input, button")?.focus();
  }

  cancel() {
    this.draft = null;
    this.show();
    this.bar.querySelector("button")?.focus();
  }

  key(event) {
    if (!this.draft || event.target !== this.sheet || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      this.cross = moved(this.cross, arrow, event.shiftKey);
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") this.add();
    else if (event.key === "Backspace" || event.key === "Delete") (this.draft.points.pop(), this.show());
    else if (event.key === "Escape") this.cancel();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // -- corners --------------------------------------------------------------------------------------------------

  corner(area, place) {
    const [x, y] = area.points[place];
    const label = t("Corner {number} of {area}", { number: place + 1, area: this.title(area) });
    const node = el("button", { type: "button", class: `area-corner ${area.kind}`, "aria-label": label, style: { left: `${100 * x}%`, top: `${100 * y}%` } });
    const put = (point) => {
      area.points = area.points.map((each, at) => (at === place ? point : each));
      node.style.setProperty("left", `${100 * point[0]}%`);
      node.style.setProperty("top", `${100 * point[1]}%`);
      this.draw();
      this.changed();
    };
    node.addEventListener("pointerdown", (event) => node.setPointerCapture(event.pointerId));
    node.addEventListener("pointermove", (event) => node.hasPointerCapture(event.pointerId) && put(this.at(event)));
    node.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (arrow) put(moved(area.points[place], arrow, event.shiftKey));
      else if ((event.key === "Delete" || event.key === "Backspace") && area.points.length > LEAST_CORNERS) {
        area.points = area.points.filter((_, at) => at !== place);
        this.show();
        this.changed();
        this.corners.children[0]?.focus();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return node;
  }

  // -- what is shown --------------------------------------------------------------------------------------------

  /** What an area is called in words. */
  title(area) {
    if (area.name.trim()) return area.name.trim();
    const number = this.areas.filter((each) => each.kind === area.kind).indexOf(area) + 1;
    return area.kind === "zone" ? t("Zone {number}", { number }) : t("Mask {number}", { number });
  }

  draw() {
    const shape = ({ kind, points }, more = "") => svg("polygon", { class: `area ${kind} ${more}`, points: points.map((each) => each.join(",")).join(" ") });
    const drafted = this.draft && { ...this.draft, points: [...this.draft.points, this.cross] };
    fill(this.shapes, this.areas.map((area) => shape(area)), drafted && shape(drafted, "draft"));
    this.aim.hidden = !this.draft;
    this.aim.style.setProperty("left", `${100 * this.cross[0]}%`);
    this.aim.style.setProperty("top", `${100 * this.cross[1]}%`);
  }

  show() {
    this.draw();
    const count = this.draft?.points.length ?? 0;
    this.sheet.className = this.draft ? "area-sheet drawing" : "area-sheet";
    const drafted = this.draft?.points.map(([x, y]) => el("span", { class: `area-corner ${this.draft.kind}`, style: { left: `${100 * x}%`, top: `${100 * y}%` } }));
    fill(this.corners, drafted ?? this.areas.map((area) => area.points.map((_, place) => this.corner(area, place))));
    this.help.textContent = this.draft
      ? t("Click the corners of the area, and the first corner at the end. With the keyboard: arrow keys move the cross, Enter adds a corner, Backspace removes the last one, Escape cancels.")
      : t("Only faces in a zone give events; without zones, all do. Masks are blackened in every picture, and nothing is looked for there. Drag corners, or move them with the arrow keys.");
    const full = (kind) => this.areas.filter((each) => each.kind === kind).length >= MOST_AREAS;
    fill(
      this.bar,
      this.draft
        ? [button(t("Finish the area"), () => this.finish(), { kind: "primary", disabled: count < LEAST_CORNERS }), button(t("Cancel drawing"), () => this.cancel())]
        : [button(t("Draw a zone"), () => this.begin("zone"), { icon: "add", disabled: full("zone") }), button(t("Draw a mask"), () => this.begin("mask"), { icon: "add", disabled: full("mask") })],
    );
    fill(this.list, this.areas.map((area) => this.row(area)));
  }

  row(area) {
    const title = this.title(area);
    const remove = () => {
      this.areas = this.areas.filter((each) => each !== area);
      this.show();
      this.changed();
      this.bar.querySelector("button")?.focus();
    };
    const name = el("input", { value: area.name, maxlength: "60", placeholder: title, "aria-label": t("Name of {area}", { area: title }), on: { input: () => ((area.name = name.value), this.changed()) } });
    return el(
      "li", { class: "area-row" }, el("i", { class: `area-mark ${area.kind}`, "aria-hidden": "true" }),
      area.kind === "zone" ? name : el("span", null, title),
      button("", remove, { icon: "trash", kind: "quiet", class: "little", label: t("Remove {name}", { name: title }) }),
    );
  }
}

const moved = ([x, y], [right, down], far) => [within(x + right * (far ? LARGE_STEP : STEP)), within(y + down * (far ? LARGE_STEP : STEP))];
