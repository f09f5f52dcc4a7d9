// Notifications in this browser: switched on and off, tried out, and the list of all browsers that get them.

import { button, confirm, el, fill, icon, toast, toggle } from "./dom.js";
import { api, explain, may } from "./api.js";
import { t } from "./i18n.js";
import { moment, when } from "./times.js";

/** What this browser was subscribed with: {id, strangers}. It is sent again when the page is opened, as the session may be new. */
const REMEMBERED = "push";

const canPush = () => isSecureContext && "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

/** The worker of this page; it may just be being installed. */
async function worker() {
  const { ready } = navigator.serviceWorker;
  return Promise.race([ready, new Promise((_, reject) => setTimeout(() => reject(new Error(t("The page is not installed in this browser yet; reload it."))), 5000))]);
}

/** Subscribes this browser again where it was subscribed before: with this session. */
export async function renewSubscription() {
  const wanted = remembered();
  if (!wanted || !may("write") || !canPush() || Notification.permission !== "granted") return;
  try {
    const own = await (await worker()).pushManager.getSubscription();
    if (own) await tell(own, wanted.strangers);
  } catch {
    // the switch in the view Rules says what is wrong
  }
}

/** A card with a switch for this browser. `changed` is called with the number of browsers that get notifications. */
export function notifyCard({ signal, changed = () => {} }) {
  const node = el("section", { class: "card stack notify", "aria-label": t("Notifications in browsers") });
  let held;

  async function load() {
    held = await api("/push", { signal });
    changed(held.subscriptions.length);
    draw();
  }

  const told = async (work, said) => {
    try {
      await work();
      if (said) toast(said);
    } catch (error) {
      if (error.name !== "AbortError") toast(error.code ? explain(error) : error.message, { kind: "bad" });
    }
    const before = document.activeElement?.textContent;
    await load().catch(() => {}); // what was shown stays
    [...node.querySelectorAll("button, input")].find((each) => (each.labels?.[0] ?? each).textContent === before)?.focus();
  };

  async function turn(on) {
    if (!on) return told(unsubscribe);
    await told(async () => {
      if ((await Notification.requestPermission()) !== "granted") throw new Error(t("Notifications are blocked in the settings of this browser."));
      await tell(await subscribed(held.public_key), false);
    });
  }

  function draw() {
    const mine = held.subscriptions.find((each) => each.id === remembered()?.id);
    const lack = lacking();
    fill(
      node,
      el("h2", null, t("Notifications in browsers")),
      lack ? el("p", { class: "muted" }, lack) : [
        toggle(t("Notify this browser"), Boolean(mine), turn),
        mine && toggle(t("Also when somebody new is among the strangers"), mine.strangers, (on) => told(async () => tell(await subscribed(held.public_key), on))),
        mine && el("div", { class: "row" }, button(t("Send a test"), () => told(() => api(`/push/subscriptions/${mine.id}/test`, { json: { message: t("Notifications work.") } }), t("Sent: it appears in a moment.")), { class: "little", icon: "bolt" })),
      ],
      held.subscriptions.length > 0 && el("ul", { class: "notify-list", "aria-label": t("Browsers that get notifications") }, held.subscriptions.map((each) => el("li", { class: "spread" },
        el("span", null, el("bdi", null, each.label || each.service), el("span", { class: "muted small" }, ` ${when(moment(each.made))}`)),
        button("", () => remove(each, each.id === mine?.id), { icon: "trash", kind: "quiet", class: "little", label: t("Remove {name}", { name: each.label || each.service }) })))),
    );
  }

  async function remove(each, isMine) {
    if (!(await confirm(t("Remove this browser?"), t("It gets no notifications any more."), t("Remove")))) return;
    await told(isMine ? unsubscribe : () => api(`/push/subscriptions/${each.id}`, { method: "DELETE" }));
  }

  load().catch((error) => error.name === "AbortError" || fill(node, el("p", { class: "field-error" }, explain(error))));
  return node;
}

/** Why this browser cannot be notified. */
function lacking() {
  if (!isSecureContext) return t("Browsers can be notified only where the page is opened over HTTPS, or on the server's own machine.");
  if (!canPush()) return t("This browser cannot be notified. On an iPhone or iPad, add the page to the home screen and open it there.");
  if (Notification.permission === "denied") return t("Notifications are blocked in the settings of this browser.");
  return "";
}

/** This browser's subscription; one of another key, which the server no longer has, is replaced. */
async function subscribed(key) {
  const { pushManager } = await worker();
  const wanted = bytes(key);
  const own = await pushManager.getSubscription();
  if (own && same(own.options?.applicationServerKey, wanted)) return own;
  await own?.unsubscribe();
  return pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: wanted });
}

async function tell(own, strangers) {
  const { endpoint, keys } = own.toJSON();
  const json = { endpoint, p256dh: keys.p256dh, auth: keys.auth, label: label() };
  if (strangers) json.strangers = t("Somebody new was seen.");
  const { id } = await api("/push/subscriptions", { json });
  remember({ id, strangers });
}

async function unsubscribe() {
  const { id } = remembered() ?? {};
  remember(null);
  await (await (await worker()).pushManager.getSubscription())?.unsubscribe();
  if (id) await api(`/push/subscriptions/${id}`, { method: "DELETE" });
}

/** What this browser is called in the list. */
function label() {
  const data = navigator.userAgentData;
  const brand = data?.brands.map((each) => each.brand).find((each) => !/not.*brand|chromium/i.test(each));
  const name = brand ?? /Firefox|Edg|Chrome|Safari/.exec(navigator.userAgent)?.[0] ?? "";
  return [name, data?.platform || navigator.platform].filter(Boolean).join(", ").slice(0, 80);
}

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));

function same(one, other) {
  const own = one && new Uint8Array(one);
  return own?.length === other.length && own.every((each, place) => each === other[place]);
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(REMEMBERED));
  } catch {
    return null;
  }
}

function remember(said) {
  try {
    if (said) localStorage.setItem(REMEMBERED, JSON.stringify(said));
    else localStorage.removeItem(REMEMBERED);
  } catch {
    // storage is not available: the browser is in the list, and can be removed there
  }
}
