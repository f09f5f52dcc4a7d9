// Photo input: dropped, chosen or pasted files. What is dropped or pasted and not taken is reported.

import { button, el, icon, toast } from "./dom.js";
import { may } from "./api.js";
import { n, t } from "./i18n.js";

export const KINDS = "image/*,.heic,.heif,.avif,.tif,.tiff,.jp2,.jxl";
const UNTYPED = new Set(["", "application/octet-stream"]);

/** Whether a file may be a photo. The server decides about files whose type the browser does not know; with `named`, those
 *  that have an extension must have a photo's. */
export function mayBePhoto(file, named = false) {
  if (file.type.startsWith("image/") || /\.(jpe?g|jpe|jfif|png|gif|heic|heif|avif|tiff?|bmp|webp|jp2|jxl|dng|cr2|cr3|nef|arw|orf|rw2|raf)$/i.test(file.name)) return true;
  return UNTYPED.has(file.type) && !(named && /\.[a-z0-9]{1,5}$/i.test(file.name));
}

export const isZip = (file) => /\.zip$/i.test(file.name) || /^application\/(x-)?zip/.test(file.type);
export const isCsv = (file) => /\.(csv|tsv)$/i.test(file.name);

/** What a drop holds, for intake.js, if it has folders, ZIP or CSV files or `always`; otherwise null. To be called within the
 *  event, since browsers empty the drop afterwards. */
function trees(transfer, always) {
  const found = [...(transfer?.items ?? [])].filter((item) => item.kind === "file").map((item) => {
    const entry = item.webkitGetAsEntry?.();
    return entry?.isDirectory ? { entry } : { file: item.getAsFile() };
  });
  const given = found.filter(({ entry, file }) => entry || file);
  return given.length && (always || given.some(({ entry, file }) => entry || isZip(file) || isCsv(file))) ? given : null;
}

/** Sorts what a DataTransfer holds into photos, other files and folders. */
function sorted(transfer) {
  const found = { photos: [], others: [], folders: [] };
  for (const item of [...(transfer?.items ?? [])].filter((each) => each.kind === "file")) {
    const folder = item.webkitGetAsEntry?.()?.isDirectory;
    const file = item.getAsFile();
    if (file) found[folder ? "folders" : mayBePhoto(file) ? "photos" : "others"].push(file);
  }
  return found;
}

/** Reports what was not taken of a drop. */
function report({ others, folders }) {
  const more = others.length - 1;
  if (others.length) {
    const { name } = others[0];
    const words = more
      ? n(more, "{name} and {count} other file are not photos and were not added", "{name} and {count} other files are not photos and were not added", { name })
      : t("{name} is not a photo and was not added", { name });
    toast(words, { kind: "bad" });
  }
  const further = folders.length - 1;
  if (folders.length) {
    const { name } = folders[0];
    const words = further
      ? n(further, "{name} and {count} other folder were not added", "{name} and {count} other folders were not added", { name })
      : t("{name} was not added", { name });
    toast(t("{what}: drop folders on People, or open the folder and drop the photos in it", { what: words }), { kind: "bad" });
  }
}

/** Reports files that were dropped where nothing takes them. */
export function reportDrop(transfer) {
  const { photos, others, folders } = sorted(transfer);
  const where = document.querySelector("dialog[open]")
    ? t("Nothing was added: this dialog takes no photos")
    : t("Nothing was added: photos can be dropped on Try and on People");
  if (photos.length) toast(where, { kind: "bad" });
  report({ others, folders });
}

/** Opens the file chooser; `taken` is called with an array of files. */
export function choose(taken, several = false) {
  const input = el("input", { type: "file", accept: KINDS, multiple: several });
  input.addEventListener("change", () => input.files.length && taken([...input.files]));
  input.click();
}

/** A button that opens the file chooser. */
export const chooseButton = (text, taken, options = {}) =>
  button(text, () => choose(taken, options.several), { icon: "upload", kind: options.kind ?? "primary" });

/** Accepts images dropped on `node`, which has the class `over` while a file is dragged over it. Drops of folders, ZIP or CSV
 *  files go to `many`, if it is given: see intake.js. */
export function takesDrops(node, taken, signal, many = null) {
  let depth = 0;
  const over = (change) => node.classList.toggle("over", (depth = Math.max(0, depth + change)) > 0);
  const on = (name, handler) => node.addEventListener(name, handler, { signal });
  on("dragenter", (event) => (event.preventDefault(), over(1)));
  on("dragleave", () => over(-1));
  on("dragover", (event) => event.preventDefault());
  on("drop", (event) => {
    event.preventDefault();
    over(-depth);
    const given = many && trees(event.dataTransfer, !taken);
    if (given) return void many(given);
    const found = sorted(event.dataTransfer);
    report(found);
    if (found.photos.length) taken?.(found.photos);
    else if (!found.others.length && !found.folders.length) toast(t("Nothing was added: only files can be dropped here"), { kind: "bad" });
  });
}

/** Accepts images pasted anywhere on the page, or in the dialog that contains `home`. */
export function takesPastes(taken, signal, home = null) {
  document.addEventListener(
    "paste",
    (event) => {
      const top = [...document.querySelectorAll("dialog[open]")].at(-1);
      if (event.defaultPrevented || (top && !top.contains(home))) return;
      const found = sorted(event.clipboardData);
      if (found.photos.length || found.others.length) event.preventDefault();
      report(found);
      if (found.photos.length) taken(found.photos);
    },
    { signal },
  );
}

/** Accepts folders, ZIP files, CSV files and photos dropped on `node`. */
export const takesTrees = (node, many, signal) => takesDrops(node, null, signal, many);

/** Accepts photos for enrolment, dropped on `node` or pasted anywhere; users who may not enrol are told so. Folders and ZIP
 *  files are dropped to `many`. */
export function takesPhotos(node, taken, signal, many = null) {
  const allowed = (work) => (files) => (may("write") ? work(files) : toast(t("Nothing was added: adding photos requires a key with the role write"), { kind: "bad" }));
  const add = allowed(taken);
  takesDrops(node, add, signal, many && allowed(many));
  takesPastes(add, signal);
}

/** A drop zone with a `title`, a `text`, and `actions` as alternatives to dropping. */
export const dropzone = (title, text, ...actions) =>
  el("div", { class: "drop" }, icon("image"), el("p", { class: "drop-title" }, title), text && el("p", { class: "muted" }, text), el("div", { class: "row" }, actions));
