// Live pictures of many cameras over one connection: GET /wall answers with parts, each a JPEG and the id of its camera.

import { link } from "./api.js";

const LINE = 10;

/** Reads the pictures until the reply ends or `signal` is aborted. `begun(ids)` is called with the cameras that are in it, and
 *  `shown(id, picture)` with each picture, a Blob. Throws an Error if there is no reply. */
export async function followWall(query, { signal, begun, shown }) {
  const reply = await fetch(link("/wall", query), { signal, credentials: "same-origin" });
  if (!reply.ok) throw new Error(String(reply.status));
  begun((reply.headers.get("X-Cameras") ?? "").split(","));
  const parts = new Parts(shown);
  const reader = reply.body.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) parts.take(read.value);
}

/** Takes a multipart body apart by the lengths that its parts say. */
export class Parts {
  constructor(shown) {
    this.shown = shown;
    this.kept = new Uint8Array(0);
  }

  take(bytes) {
    let data = bytes;
    if (this.kept.length) {
      data = new Uint8Array(this.kept.length + bytes.length);
      data.set(this.kept);
      data.set(bytes, this.kept.length);
    }
    for (let used = this.part(data); used; used = this.part(data)) data = data.subarray(used);
    this.kept = data.slice();
  }

  /** Shows the first part, if it is complete; how many bytes it has, else 0. */
  part(data) {
    const end = blankLine(data);
    if (end < 0) return 0;
    const head = new TextDecoder("latin1").decode(data.subarray(0, end));
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? NaN);
    const camera = /^x-camera: *(\S+)/im.exec(head)?.[1];
    if (!Number.isFinite(length) || !camera) throw new Error("bad part");
    const begin = end + 4;
    if (data.length < begin + length) return 0;
    this.shown(camera, new Blob([data.slice(begin, begin + length)], { type: "image/jpeg" }));
    return begin + length;
  }
}

/** Where the blank line after the headers begins; -1 if it has not come. */
function blankLine(data) {
  for (let at = data.indexOf(LINE, 3); at >= 0; at = data.indexOf(LINE, at + 1)) {
    if (data[at - 2] === LINE && data[at - 1] === 13 && data[at - 3] === 13) return at - 3;
  }
  return -1;
}
