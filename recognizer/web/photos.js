// Photos that people give the page: dropped, chosen or pasted.

import { button, el, icon } from "./dom.js";

const KINDS = "image/*,.heic,.heif,.avif,.tif,.tiff";

/** The picture files among what was dropped or pasted; folders are left out. */
export function pictures(transfer) {
  return [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/") || /\.(heic|heif|avif|tiff?|bmp|webp)$/i.test(file.name));
}

/** Let people choose files; `taken` gets them as an array. */
export function choose(taken, several = false) {
  const input = el("input", { type: "file", accept: KINDS, multiple: several });
  input.addEventListener("change", () => input.files.length && taken([...input.files]));
  input.click();
}

/** A button that lets people choose files. */
export const chooseButton = (text, taken, options = {}) =>
  button(text, () => choose(taken, options.several), { icon: "upload", kind: options.kind ?? "primary" });

/** Take pictures that are dropped on `node`; it has the class `over` while one is held above it. */
export function takesDrops(node, taken, signal) {
  let depth = 0;
  const over = (change) => node.classList.toggle("over", (depth = Math.max(0, depth + change)) > 0);
  const on = (name, handler) => node.addEventListener(name, handler, { signal });
  on("dragenter", (event) => (event.preventDefault(), over(1)));
  on("dragleave", () => over(-1));
  on("dragover", (event) => event.preventDefault());
  on("drop", (event) => {
    event.preventDefault();
    over(-depth);
    const found = pictures(event.dataTransfer);
    if (found.length) taken(found);
  });
}

/** Take pictures that are pasted anywhere on the page. */
export function takesPastes(taken, signal) {
  document.addEventListener(
    "paste",
    (event) => {
      const found = pictures(event.clipboardData);
      if (found.length && !event.defaultPrevented) (event.preventDefault(), taken(found));
    },
    { signal },
  );
}

/** The place where photos are dropped: `title` and `text` say what for, `actions` are other ways. */
export const dropzone = (title, text, ...actions) =>
  el("div", { class: "drop" }, icon("image"), el("p", { class: "drop-title" }, title), text && el("p", { class: "muted" }, text), el("div", { class: "row" }, actions));
