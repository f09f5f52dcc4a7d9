// Requests to the server, error messages, and the current session.

import { here } from "./dom.js";
import { inGroup } from "./group.js";
import { language, t } from "./i18n.js";
import { REFUSALS, wrongValue } from "./refusals.js";

/** The current session. `role` is null before signing in, `key` is null if the server has no keys. `csrf` is sent with
 *  every request that changes something. */
export const session = { role: null, key: null, expires: null, csrf: null };

const RANK = { read: 1, write: 2, admin: 3 };
let forgotten = () => {};

/** Whether the current session has at least this role. */
export const may = (role) => (RANK[session.role] ?? 0) >= RANK[role];

/** Registers a callback for when the server no longer accepts the session. */
export const whenSignedOut = (what) => (forgotten = what);

/** An error reply: `code`, `status`, the server's `message`, and the whole error object as `details`. */
export class ApiError extends Error {
  constructor(status, error, wait) {
    super(error.message);
    Object.assign(this, { status, code: error.code, details: error, wait });
  }
}

/** Sends a request. Returns the parsed JSON, or a Blob for other content types.
 *
 *  `options`: `method`; `query` (empty values are omitted); one of `json`, `form` (FormData) and `body` (a Blob);
 *  `accept` for pictures; `signal`. Throws ApiError, or AbortError if `signal` is aborted. */
export async function api(path, options = {}) {
  const { query, json, form, body, accept, signal } = options;
  const method = options.method ?? (json || form || body ? "POST" : "GET");
  const headers = { Accept: accept ?? "application/json" };
  if (json) headers["Content-Type"] = "application/json";
  if (body) headers["Content-Type"] = "application/octet-stream";
  if (method !== "GET" && session.csrf) headers["X-CSRF-Token"] = session.csrf;
  let reply;
  try {
    const sent = json ? JSON.stringify(json) : (form ?? body);
    reply = await fetch(link(path, inGroup(path, query)), { method, headers, body: sent, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: t("the server is not responding") });
  }
  if (reply.ok) return (reply.headers.get("Content-Type") ?? "").includes("json") ? reply.json() : reply.blob();
  const said = await reply.json().catch(() => ({ error: { code: "internal", message: t("the server's reply could not be read") } }));
  const error = new ApiError(reply.status, said.error, Number(reply.headers.get("Retry-After")) || null);
  if (error.status === 401 && path !== "/session") forgotten(error);
  throw error;
}

/** The address of a path with a query string; empty values are omitted. */
export function link(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${here(path)}?${new URLSearchParams(given)}` : here(path);
}

/** The path of a person or of a resource below it. */
export const personPath = (name, ...below) => ["/people", ...[name, ...below].map(encodeURIComponent)].join("/");

/** Loads the current session. Returns false if a key is required first. */
export async function refreshSession() {
  try {
    know(await api("/session"));
    return true;
  } catch (error) {
    if (error.status !== 401) throw error;
    know({});
    return false;
  }
}

export async function signIn(key) {
  know(await api("/session", { json: { key } }));
}

export async function signOut() {
  await api("/session", { method: "DELETE" });
  know({});
}

function know({ role = null, key = null, expires = null, csrf_token = null }) {
  Object.assign(session, { role, key, expires, csrf: csrf_token });
}

/** Advice that is added to the server's message, by error code. */
const ADVICE = {
  unreachable: t("Is it still running? Try again in a moment."),
  busy: t("Try again in a moment."),
  starting: t("It will be ready in a moment."),
  damage_repaired: t("Try again in a moment."),
  decoder_unavailable: t("Try again in a moment."),
  not_caught_up: t("Try again in a moment."),
  method_not_allowed: t("Reload the page and try again."),
  unknown_route: t("Reload the page and try again."),
  no_face: t("Try a photo that shows the face from the front, larger and in better light."),
  face_too_small: t("Try a larger photo, or one taken from closer up."),
  address_refused: t("The server fetches photos from public addresses only, unless RECOGNIZER_FETCH_ALLOW allows others."),
  role_required: t("Sign in with a key that has the required role."),
  csrf_refused: t("Reload the page and try again."),
  origin_refused: t("Reload the page and try again."),
};

/** Messages that replace the server's, which are written for API clients. */
const INSTEAD = {
  several_faces: ({ faces }) => t("{faces} faces were found, but one is expected. Crop the photo or use the largest face.", { faces }),
  looks_like_another: ({ subject }) => t("This face looks like {subject}, who is already enrolled.", { subject }),
};

/** The message that is shown for an error. */
export function explain(error) {
  if (!(error instanceof ApiError)) return t("An error occurred on this page: {message}.", { message: error.message });
  if (INSTEAD[error.code]) return INSTEAD[error.code](error.details);
  const said = told(error);
  return ADVICE[error.code] ? `${said} ${ADVICE[error.code]}` : said;
}

/** What a refusal {code, message} says: the server's words, which are English and exact, or the page's in another language. */
export function told({ code, message, details, remarks = details?.remarks }) {
  if (language === "en") return sentence(message);
  if (code === "invalid_parameter") return wrongValue(message);
  return [REFUSALS[code] ?? message, ...(remarks ?? []).map((each) => REFUSALS[each]).filter(Boolean)].map(sentence).join(" ");
}

/** Adds an initial capital and a full stop. */
export function sentence(text) {
  const full = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?。؟]$/.test(full) ? full : `${full}.`;
}
