// Collects photos from dropped or chosen folders, ZIP files and files, and works out whose they are: by their folders, by the
// names of the files, or by a CSV file. Photos are listed with a function that opens them, so nothing is read before it is sent.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { isCsv, isZip, KINDS, mayBePhoto } from "./photos.js";
import { entries as zipEntries, ZipError } from "./zip.js";

const DEEPEST = 16;
const MOST = 100_000;
const MOST_CSV = 20e6;

/** Files that systems put beside photos: nobody means them. */
const isClutter = (path) => path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX") || /(^|\/)(thumbs\.db|desktop\.ini)$/i.test(path);

/** Opens the chooser of files or, with `folder`, of folders; `taken` is called with what can be collected. */
export function chooseMany(taken, { folder = false } = {}) {
  const input = el("input", { type: "file", multiple: true, accept: folder ? undefined : `${KINDS},.zip,.csv,.tsv`, webkitdirectory: folder });
  input.addEventListener("change", () => input.files.length && taken([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }))));
  input.click();
}

/** Collects {photos, tables, others, problems} from what was dropped or chosen.
 *
 *  A photo is {path, name, open}, its `path` including the folders; `tables` are the texts of CSV files; `others` the paths of
 *  files that are no photos; `problems` sentences about what could not be read. `step(count)` is called while it goes on. */
export async function collect(given, step = () => {}) {
  const found = { photos: [], tables: [], others: [], problems: [] };
  let stopped = false;
  const take = (path, name, size, open, file) => {
    if (isClutter(path)) return;
    if (found.photos.length >= MOST) {
      if (!stopped) found.problems.push(t("Only the first {most} photos are listed; add the others afterwards.", { most: MOST }));
      return void (stopped = true);
    }
    if (!mayBePhoto(file ?? { name, type: "" }, true)) return void found.others.push(path);
    found.photos.push({ path, name, size, open });
    if (found.photos.length % 100 === 0) step(found.photos.length);
  };
  const file = async (each, path) => {
    if (isZip(each)) {
      try {
        for (const { path: inside, size, open } of await zipEntries(each)) {
          const parts = inside.split(/[/\\]/).filter((part) => part && part !== "." && part !== "..");
          const clean = parts.join("/");
          if (isCsv({ name: clean }) && size < MOST_CSV && !isClutter(clean)) found.tables.push(await (await open()).text());
          else take(clean, parts.at(-1) ?? "", size, open);
        }
      } catch (error) {
        found.problems.push(t("{path} was not read: {reason}.", { path, reason: error instanceof ZipError ? error.message : t("the browser cannot open it") }));
      }
    } else if (isCsv(each) && each.size < MOST_CSV) found.tables.push(await each.text());
    else take(path, each.name, each.size, async () => each, each);
  };
  const folder = async (entry, path, depth) => {
    if (depth > DEEPEST) return void found.problems.push(t("{path} is nested too deeply and was not read.", { path }));
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!batch.length || stopped) return;
      for (const each of batch) {
        const below = `${path}/${each.name}`;
        const open = () => new Promise((resolve, reject) => each.file(resolve, reject));
        if (each.isDirectory) await folder(each, below, depth + 1);
        else if (isZip(each) || isCsv(each)) await file(await open(), below);
        else take(below, each.name, null, open);
      }
    }
  };
  for (const each of given) {
    try {
      if (each.entry) await folder(each.entry, each.entry.name, 0);
      else await file(each.file, each.path ?? each.file.name);
    } catch {
      found.problems.push(t("{name} was not read completely: the browser may not open it.", { name: (each.entry ?? each.file).name }));
    }
  }
  return found;
}

// -- whose photos they are ------------------------------------------------------------------------------------------------

/** What cameras and telephones call files: no names of people. */
const OF_CAMERAS = /^(img|dsc[a-z]?|dcim|dscn|pxl|mvimg|vid|gopr|photo|picture|pic|image|bild|foto|scan|screenshot|file|untitled|p|whatsapp image|signal|telegram)\b/i;

/** The name that a file's name begins with: "George_W_Bush_0001.jpg" and "George W Bush (2).jpg" are George W Bush's. */
export function nameOfFile(file) {
  const stem = file.replace(/\.[^.]+$/, "").replace(/_/g, " ");
  const name = stem.replace(/[\s\-–.]*(\(\d+\)|#?\d+)\s*$/, "").replace(/\s+/g, " ").trim();
  return /\p{L}/u.test(name) && !OF_CAMERAS.test(name) ? name : "";
}

/** The folders that say whose the photos are: the first ones that differ, or the only one. Path -> name, "" if none. */
export function namesByFolder(paths) {
  const folders = paths.map((path) => path.split("/").slice(0, -1));
  const deepest = folders.filter((each) => each.length);
  if (!deepest.length) return paths.map(() => "");
  let shared = 0;
  while (folders.every((each) => each.length > shared && each[shared] === folders[0][shared])) shared++;
  // photos that lie beside the people's folders belong to nobody, but a single folder is a person
  const alone = folders.every((each) => each.length === shared);
  return folders.map((each) => (alone ? each[shared - 1] : each[shared]) ?? "");
}

/** Reads a CSV file with the columns file and name, in this order or as its head says, separated by , ; or a tab. */
export function table(said) {
  const text = said.replace(/^\ufeff/, "");
  const first = text.split(/\r?\n/, 1)[0];
  const mark = ["\t", ";", ","].find((each) => first.includes(each)) ?? ",";
  const rows = [];
  let [row, cell, quoted] = [[], "", false];
  const end = () => (row.push(cell.trim()), (cell = ""));
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') (cell += '"'), at++;
      else quoted = false;
    } else if (letter === '"' && !cell.trim()) (quoted = true), (cell = "");
    else if (letter === mark) end();
    else if (letter === "\n") (end(), rows.push(row), (row = []));
    else if (letter !== "\r") cell += letter;
  }
  if (cell || row.length) (end(), rows.push(row));
  const head = (rows[0] ?? []).map((each) => each.toLowerCase());
  const column = (...names) => head.findIndex((each) => names.includes(each));
  const [file, name] = [column("file", "filename", "photo", "path", "image"), column("name", "subject", "person", "label")];
  const headed = file >= 0 && name >= 0;
  return rows.slice(headed ? 1 : 0).map((each) => [each[headed ? file : 0] ?? "", each[headed ? name : 1] ?? ""]).filter(([left]) => left);
}

/** Names by the rows of CSV files; `missing` are the rows' files that are not among the photos. A file's name without its
 *  folders is enough where it is unique. */
export function namesByTable(paths, rows) {
  const key = (path) => path.replaceAll("\\", "/").replace(/^\.?\//, "").toLowerCase();
  const byPath = new Map(rows.map(([file, name]) => [key(file), name]));
  const used = new Set();
  const names = paths.map((path) => {
    const parts = key(path).split("/");
    for (let from = 0; from < parts.length; from++) {
      const tail = parts.slice(from).join("/");
      if (byPath.has(tail)) return used.add(tail), byPath.get(tail);
    }
    return "";
  });
  return { names, missing: rows.map(([file]) => file).filter((file) => !used.has(key(file))) };
}
