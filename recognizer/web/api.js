// Talking to the server: one function for every request, errors in words, and who is signed in.

/** Who asks: `role` is null before signing in, `key` null where no keys are needed. `csrf` goes with every change. */
export const session = { role: null, key: null, expires: null, csrf: null };

const RANK = { read: 1, write: 2, admin: 3 };
let forgotten = () => {};

/** Whether whoever is signed in may do what a role may. */
export const may = (role) => (RANK[session.role] ?? 0) >= RANK[role];

/** Have `what` called when the server no longer knows the session. */
export const whenSignedOut = (what) => (forgotten = what);

/** An answer that is an error: `code`, `status`, the server's sentence as `message`, and all it says in `details`. */
export class ApiError extends Error {
  constructor(status, error, wait) {
    super(error.message);
    Object.assign(this, { status, code: error.code, details: error, wait });
  }
}

/** Ask the server. Gives what the JSON holds, or a Blob of a picture.
 *
 *  `options`: `method`; `query` (empty values are left out); one of `json`, `form` (FormData) and `body` (a Blob);
 *  `accept` for pictures; `signal`. Raises ApiError, and AbortError when `signal` says so. */
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
    reply = await fetch(link(path, query), { method, headers, body: sent, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: "the server does not answer" });
  }
  if (reply.ok) return (reply.headers.get("Content-Type") ?? "").includes("json") ? reply.json() : reply.blob();
  const said = await reply.json().catch(() => ({ error: { code: "internal", message: "the answer cannot be read" } }));
  const error = new ApiError(reply.status, said.error, Number(reply.headers.get("Retry-After")) || null);
  if (error.status === 401 && path !== "/session") forgotten(error);
  throw error;
}

/** A path with a query; empty values are left out. */
export function link(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** The path of a person, and of what is below. */
export const personPath = (name, ...below) => ["/people", ...[name, ...below].map(encodeURIComponent)].join("/");

/** Learn who asks. False where a key is needed first. */
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

/** What to do about an error, where there is something. */
const ADVICE = {
  unreachable: "Is it still running? Try again in a moment.",
  busy: "Try again in a moment.",
  starting: "It will be ready in a moment.",
  no_face: "Try a photo that shows the face from the front, larger and in better light.",
  face_too_small: "Try a larger photo, or one taken from nearer.",
  poor_photo: "Try a sharper photo in better light.",
  address_refused: "The server fetches photos from public addresses only; RECOGNIZER_FETCH_ALLOW can add others.",
  role_required: "Your key may not do this.",
  csrf_refused: "Load the page again, then repeat it.",
  origin_refused: "Load the page again, then repeat it.",
};

/** Where the server speaks to programs: what to say instead. */
const INSTEAD = {
  several_faces: ({ faces }) => `${faces} faces were found, expected one. Crop the photo, or take the largest.`,
  looks_like_another: ({ subject }) => `This face looks like ${subject}, who is enrolled.`,
};

/** An error as sentences for people. */
export function explain(error) {
  if (!(error instanceof ApiError)) return `Something went wrong in this page: ${error.message}.`;
  if (INSTEAD[error.code]) return INSTEAD[error.code](error.details);
  const said = sentence(error.message);
  return ADVICE[error.code] ? `${said} ${ADVICE[error.code]}` : said;
}

/** With a capital at its start and a full stop at its end. */
export function sentence(text) {
  const full = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(full) ? full : `${full}.`;
}
