// Keeps the files of the page, so that it opens while the server is away and can be installed. Nothing else is kept or answered
// here: no photo, no video and no reply of the API passes through this worker. It shows the notifications that the server sends.

/** The folder of the page's files, of one version, and the address of the page, which a proxy may have put below a path. */
const FILES = new URL("./", self.location).href;
const PAGE = new URL("../../", self.location).href;
/** One cache for each version; several installations may be below one address. */
const OURS = `recognizer ${PAGE} `;
const SHELL = `${OURS}@version@`;
/** What belongs to the page: not the reference of the API, which is large. */
const FILE = /^(?!swagger)[\w-]+\.(js|css|json|svg|png|webmanifest)$/;

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== SHELL);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = request.url.split("#")[0];
  if (request.method !== "GET") return;
  if (request.mode === "navigate" && address === PAGE) event.respondWith(page(request));
  else if (address.startsWith(FILES) && FILE.test(address.slice(FILES.length))) event.respondWith(file(request));
});

self.addEventListener("push", (event) => {
  let said = {};
  try {
    said = event.data.json();
  } catch {
    // not a message of this server: a browser requires that something is shown
  }
  const { title = "Recognizer", body = "", tag, view } = said;
  event.waitUntil(self.registration.showNotification(title, { body, tag, icon: `${FILES}icon-192.png`, data: { view } }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.view));
});

/** Shows a view of the page: in a window that is open, or a new one. */
async function open(view) {
  const address = `${PAGE}${/^#\/\w+$/.test(view) ? view : "#/live"}`;
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = windows.find((each) => each.url.split("#")[0] === PAGE);
  if (!there) return self.clients.openWindow(address);
  await there.navigate(address).catch(() => {}); // a window that this worker does not control stays where it is
  return there.focus();
}

/** The page as the server has it; the one that was kept if the server is away. */
async function page(request) {
  try {
    const reply = await fetch(request);
    if (isOurs(reply, "text/html")) await keep(PAGE, reply.clone());
    return reply;
  } catch (error) {
    return (await kept(PAGE)) ?? Promise.reject(error);
  }
}

/** A file of this version, which never changes. */
async function file(request) {
  const found = await kept(request.url);
  if (found) return found;
  const reply = await fetch(request);
  if (isOurs(reply, "")) await keep(request.url, reply.clone());
  return reply;
}

const isOurs = (reply, kind) => reply.status === 200 && reply.type === "basic" && !reply.redirected && (reply.headers.get("Content-Type") ?? "").startsWith(kind);

async function keep(address, reply) {
  try {
    await (await caches.open(SHELL)).put(address, reply);
  } catch {
    // there is no room: the page works without
  }
}

const kept = async (address) => (await caches.open(SHELL)).match(address, { ignoreVary: true });
