// Building blocks of the page. No function accepts HTML: text always becomes text nodes, so names cannot inject markup.

import { t } from "./i18n.js";
import { PATHS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/** Creates an element. `props`: `class`, `on: {event: handler}`, `data: {...}`, `style: {property: value}`, DOM properties such as
 *  `value`, `checked` and `disabled`, and attributes. Children: nodes, text, numbers, arrays; null and false are skipped. */
export function el(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** Creates an SVG element; arguments as for `el`. */
export function svg(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

const AS_PROPERTY = new Set(["value", "checked", "disabled", "indeterminate", "srcObject", "muted", "multiple", "hidden"]);

// Modules are at web/<version>/ below the address under which the API is reached, which a proxy may have put below a path.
const BASE = new URL("../../", import.meta.url).href;

/** The address of a path of the API. Complete addresses, and those of places on the page, stay as they are. */
export const here = (path) => (path.startsWith("/") ? BASE + path.slice(1) : path);

function build(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) node.style.setProperty(key, each);
    else if (AS_PROPERTY.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : name === "src" || name === "href" ? here(value) : value);
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(node, child);
    else if (child !== null && child !== undefined && child !== false) node.append(child);
  }
}

/** Replaces the children of `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  add(node, children);
  return node;
}

/** Creates an icon by its name in icons.js. Icons are hidden from screen readers. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** Creates a button. `options`: `icon`, `kind` ("primary", "danger", "quiet"), `label` (the accessible name of a button
 *  that shows only an icon), and any property that `el` accepts. */
export function button(text, click, options = {}) {
  const { icon: name, kind, label, class: more, ...rest } = options;
  return el(
    "button",
    {
      type: "button",
      class: ["button", kind, !text && "only-icon", more].filter(Boolean).join(" "),
      "aria-label": label,
      title: text ? undefined : label,
      on: { click },
      ...rest,
    },
    name && icon(name),
    text && el("span", null, text),
  );
}

/** Creates a labelled switch; `change` is called with the new state. */
export function toggle(text, on, change, props = {}) {
  const box = el("input", { type: "checkbox", role: "switch", checked: on, on: { change: () => change(box.checked) }, ...props });
  return el("label", { class: "switch" }, box, el("span", null, text));
}

/** The placeholder of a view without content; its text says what to do first. */
export function empty(name, title, text, ...actions) {
  return el("div", { class: "empty" }, icon(name), el("h2", null, title), el("p", null, text), el("div", { class: "row" }, actions));
}

/** Announces a text to screen readers. */
export function announce(text) {
  const place = document.getElementById("said");
  place.textContent = "";
  setTimeout(() => (place.textContent = text), 50);
}

/** Messages are shown in the topmost dialog, if there is one: everything outside of a modal dialog is inert. */
function placeToasts() {
  const home = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  const toasts = document.getElementById("toasts");
  if (toasts.parentElement !== home) home.append(toasts);
}

/** Shows a message for a few seconds. `options`: `kind` ("good", "bad"), `action: [text, function]`, `stays` (until it is
 *  closed), `quiet` (not read out), `icon`. Returns {say, close}: `say(text)` changes the text. */
export function toast(text, options = {}) {
  const close = () => (clearTimeout(left), note.remove());
  const words = el("span", null, text);
  const note = el(
    "div",
    { class: `toast ${options.kind ?? ""}`, role: options.quiet ? undefined : options.kind === "bad" ? "alert" : "status" },
    icon(options.icon ?? (options.kind === "bad" ? "warning" : "check")),
    words,
    options.action && button(options.action[0], () => (close(), options.action[1]()), { kind: "quiet" }),
    button("", close, { icon: "close", kind: "quiet", label: t("Close message") }),
  );
  placeToasts();
  document.getElementById("toasts").append(note);
  let left;
  const closeIn = (time) => (options.stays ? null : (left = setTimeout(close, time)));
  closeIn(options.kind === "bad" ? 12000 : 6000);
  note.addEventListener("pointerenter", () => clearTimeout(left));
  note.addEventListener("focusin", () => clearTimeout(left));
  note.addEventListener("pointerleave", () => closeIn(4000));
  return { say: (now) => (words.textContent = now), close };
}

let dialogs = 0;

/** Shows a modal dialog; Escape closes it. `body(close)` returns its content, `actions(close)` its buttons.
 *  Resolves with the argument of `close`, or undefined if the dialog was dismissed. `options`: `wide`, `onclose`, and
 *  `mayDismiss`, an async function that is asked before the dialog is dismissed and returns whether it may be. */
export function dialog(title, body, actions, options = {}) {
  return new Promise((resolve) => {
    let result;
    let closing = false;
    let asking = false;
    const before = document.activeElement;
    const close = (value) => ((result = value), (closing = true), box.open ? box.close() : finish());
    const dismiss = async () => {
      if (asking) return;
      asking = true;
      const may = await (options.mayDismiss?.() ?? true);
      asking = false;
      if (may) close();
      else if (!box.open) box.showModal();
    };
    const finish = () => {
      placeToasts();
      box.remove();
      options.onclose?.();
      if (before?.isConnected) before.focus();
      resolve(result);
    };
    const id = `dialog-${++dialogs}`;
    const box = el(
      "dialog",
      { class: options.wide ? "wide" : "", "aria-labelledby": id },
      el(
        "div",
        { class: "dialog-head" },
        el("h2", { id }, title),
        button("", dismiss, { icon: "close", kind: "quiet", label: t("Close") }),
      ),
      el("div", { class: "dialog-body" }, body(close)),
      actions && el("div", { class: "dialog-foot" }, actions(close)),
    );
    box.addEventListener("cancel", (event) => {
      if (event.target !== box) return; // of a file chooser inside
      event.preventDefault();
      dismiss();
    });
    box.addEventListener("close", () => {
      if (closing || !options.mayDismiss) return finish();
      // Browsers close a dialog at the second Escape without asking. While the question is shown, this one stays closed: if it
      // were shown again, it would lie over the question.
      if (asking) return;
      box.showModal();
      dismiss();
    });
    document.body.append(box);
    box.showModal();
    placeToasts();
  });
}

/** Asks for confirmation; resolves with true if the user confirmed. `sure` is the label of the confirming button. */
export async function confirm(title, content, sure, options = {}) {
  const said = await dialog(
    title,
    () => (typeof content === "string" ? el("p", null, content) : content),
    (close) => [
      button(t("Cancel"), () => close(false), { autofocus: true }),
      button(sure, () => close(true), { kind: options.kind ?? "danger" }),
    ],
  );
  return said === true;
}

/** Copies a text to the clipboard and confirms it with a message. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { class: "out", value: text }); // the clipboard API is available over HTTPS only
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(t("Copied"));
}
