// Reads ZIP files in the browser without holding them in memory: the directory first, each file when it is asked for.

import { t } from "./i18n.js";

const END = 0x06054b50, END_64 = 0x06064b50, LOCATOR_64 = 0x07064b50, ENTRY = 0x02014b50, LOCAL = 0x04034b50;
const LARGEST_COMMENT = 65535;
const STORED = 0, DEFLATED = 8;
const ENCRYPTED = 1, UTF8 = 0x800;
const IN_64 = 0xffffffff;

/** Limits of a ZIP file: entries, bytes of its directory, of one file in it, and of all files together when unpacked. */
export const LIMITS = { entries: 50_000, directory: 64e6, file: 200e6, all: 100e9 };

/** A ZIP file that cannot be read, or a file in it. */
export class ZipError extends Error {}

/** Lists the files in a ZIP file: [{path, size, open}], where `open()` resolves with the unpacked File.
 *
 *  Sizes are taken from the directory, and unpacking ends with an error where there is more than it says, so that a small
 *  file cannot fill the memory. Throws ZipError. */
export async function entries(file, limits = LIMITS) {
  const { offset, size, count } = await directory(file);
  if (count > limits.entries) throw new ZipError(t("it has {count} entries; at most {most} are read", { count, most: limits.entries }));
  if (size > limits.directory || offset + size > file.size) throw new ZipError(t("its directory is damaged"));
  const view = await part(file, offset, size);
  const found = [];
  let all = 0;
  for (let at = 0, left = count; left > 0; left--) {
    if (at + 46 > size || view.getUint32(at, true) !== ENTRY) throw new ZipError(t("its directory is damaged"));
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    if (at + 46 + name + extra + comment > size) throw new ZipError(t("its directory is damaged"));
    const flags = view.getUint16(at + 8, true);
    const entry = {
      path: text(new Uint8Array(view.buffer, at + 46, name), flags & UTF8), flags,
      method: view.getUint16(at + 10, true), crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true), size: view.getUint32(at + 24, true), offset: view.getUint32(at + 42, true),
    };
    largeNumbers(entry, view, at + 46 + name, extra);
    at += 46 + name + extra + comment;
    if (entry.path.endsWith("/")) continue;
    if ((all += entry.size) > limits.all) throw new ZipError(t("it is too large when it is unpacked"));
    found.push({ path: entry.path, size: entry.size, open: () => unpack(file, entry, limits) });
  }
  return found;
}

async function part(file, offset, size) {
  return new DataView(await file.slice(offset, offset + size).arrayBuffer());
}

/** Where the directory is, and how many entries it has. */
async function directory(file) {
  const start = Math.max(0, file.size - LARGEST_COMMENT - 22);
  const view = await part(file, start, file.size - start);
  let at = view.byteLength - 22;
  while (at >= 0 && view.getUint32(at, true) !== END) at--;
  if (at < 0) throw new ZipError(t("it is not a ZIP file, or it is not complete"));
  const found = { count: view.getUint16(at + 10, true), size: view.getUint32(at + 12, true), offset: view.getUint32(at + 16, true) };
  if (found.count !== 0xffff && found.size !== IN_64 && found.offset !== IN_64) return found;
  if (start + at < 20) return found;
  const locator = await part(file, start + at - 20, 20);
  if (locator.getUint32(0, true) !== LOCATOR_64) return found;
  const end = await part(file, Number(locator.getBigUint64(8, true)), 56);
  if (end.byteLength < 56 || end.getUint32(0, true) !== END_64) throw new ZipError(t("its directory is damaged"));
  const [count, size, offset] = [32, 40, 48].map((place) => Number(end.getBigUint64(place, true)));
  return { count, size, offset };
}

/** Sizes and offsets above 4 GB are in an extra field of the entry. */
function largeNumbers(entry, view, from, length) {
  for (let at = from; at + 4 <= from + length; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 1) continue;
    const until = Math.min(from + length, at + 4 + view.getUint16(at + 2, true));
    let next = at + 4;
    for (const name of ["size", "packed", "offset"]) {
      if (entry[name] !== IN_64 || next + 8 > until) continue;
      entry[name] = Number(view.getBigUint64(next, true));
      next += 8;
    }
  }
}

/** Names are in UTF-8 where the entry says so, and mostly also where it does not. */
function text(bytes, utf8) {
  try {
    return new TextDecoder("utf-8", { fatal: !utf8 }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

async function unpack(file, entry, limits) {
  if (entry.flags & ENCRYPTED) throw new ZipError(t("the file is encrypted in the ZIP file"));
  if (entry.method !== STORED && entry.method !== DEFLATED) throw new ZipError(t("the file is compressed in a way that is not supported"));
  if (entry.size > limits.file) throw new ZipError(t("the file is too large"));
  const head = await part(file, entry.offset, 30);
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw new ZipError(t("the ZIP file is damaged here"));
  const start = entry.offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  let stream = file.slice(start, start + entry.packed).stream();
  if (entry.method === DEFLATED) stream = stream.pipeThrough(new DecompressionStream("deflate-raw"));
  const reader = stream.getReader();
  const parts = [];
  let [size, crc] = [0, -1];
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      if ((size += next.value.length) > entry.size) throw new ZipError(t("the ZIP file is damaged here"));
      crc = checked(crc, next.value);
      parts.push(next.value);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error instanceof ZipError ? error : new ZipError(t("the ZIP file is damaged here"));
  }
  if (size !== entry.size || (crc ^ -1) >>> 0 !== entry.crc) throw new ZipError(t("the ZIP file is damaged here"));
  return new File(parts, entry.path.split("/").at(-1), { lastModified: 0 });
}

const TABLE = Int32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** The CRC-32 of more bytes, before its last inversion. */
function checked(crc, bytes) {
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[at]) & 255];
  return crc;
}
