// Building blocks of the page. Nothing here or elsewhere takes HTML: text becomes text nodes, so a name is only a name.

import { PATHS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element. `props`: `class`, `on: {event: handler}`, `data: {...}`, `style: {property: value}`, DOM properties such as
 *  `value`, `checked` and `disabled`, and attributes. Children: nodes, text, numbers, arrays; null and false are left out. */
export function el(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

const AS_PROPERTY = new Set(["value", "checked", "disabled", "indeterminate", "srcObject", "muted", "multiple", "hidden"]);

function build(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) node.style.setProperty(key, each);
    else if (AS_PROPERTY.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
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

/** Put these children in place of what is in `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  add(node, children);
  return node;
}

/** An icon by its name in icons.js; for the eye only. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** A button. `options`: `icon`, `kind` ("primary", "danger", "quiet"), `label` (what it is called where only the icon
 *  shows), and anything that `el` takes. */
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

/** A switch with its text; `change` is told whether it is on. */
export function toggle(text, on, change, props = {}) {
  const box = el("input", { type: "checkbox", role: "switch", checked: on, on: { change: () => change(box.checked) }, ...props });
  return el("label", { class: "switch" }, box, el("span", null, text));
}

/** What a view without content shows: a sentence on what to do first. */
export function empty(name, title, text, ...actions) {
  return el("div", { class: "empty" }, icon(name), el("h2", null, title), el("p", null, text), el("div", { class: "row" }, actions));
}

/** Tell those who do not see the page. */
export function announce(text) {
  const place = document.getElementById("said");
  place.textContent = "";
  setTimeout(() => (place.textContent = text), 50);
}

/** A message for a few seconds. `options`: `kind` ("good", "bad"), `action: [text, function]`. */
export function toast(text, options = {}) {
  const close = () => note.remove();
  const note = el(
    "div",
    { class: `toast ${options.kind ?? ""}`, role: options.kind === "bad" ? "alert" : "status" },
    icon(options.kind === "bad" ? "warning" : "check"),
    el("span", null, text),
    options.action && button(options.action[0], () => (close(), options.action[1]()), { kind: "quiet" }),
    button("", close, { icon: "close", kind: "quiet", label: "Close the message" }),
  );
  document.getElementById("toasts").append(note);
  let left = setTimeout(close, options.kind === "bad" ? 12000 : 6000);
  note.addEventListener("pointerenter", () => clearTimeout(left));
  note.addEventListener("focusin", () => clearTimeout(left));
  note.addEventListener("pointerleave", () => (left = setTimeout(close, 4000)));
}

let dialogs = 0;

/** A dialog over the page; Escape closes it. `body(close)` gives its content, `actions(close)` its buttons.
 *  Resolves with what `close` was given, undefined where it was dismissed. `options`: `wide`, `onclose`. */
export function dialog(title, body, actions, options = {}) {
  return new Promise((resolve) => {
    let result;
    const before = document.activeElement;
    const close = (value) => ((result = value), box.close());
    const id = `dialog-${++dialogs}`;
    const box = el(
      "dialog",
      { class: options.wide ? "wide" : "", "aria-labelledby": id },
      el(
        "div",
        { class: "dialog-head" },
        el("h2", { id }, title),
        button("", () => close(), { icon: "close", kind: "quiet", label: "Close" }),
      ),
      el("div", { class: "dialog-body" }, body(close)),
      actions && el("div", { class: "dialog-foot" }, actions(close)),
    );
    box.addEventListener("close", () => {
      box.remove();
      options.onclose?.();
      if (before?.isConnected) before.focus();
      resolve(result);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** Ask before something that cannot be taken back; resolves with whether to go on. `sure` is what the button says. */
export async function confirm(title, content, sure, options = {}) {
  const said = await dialog(
    title,
    () => (typeof content === "string" ? el("p", null, content) : content),
    (close) => [
      button("Cancel", () => close(false), { autofocus: true }),
      button(sure, () => close(true), { kind: options.kind ?? "danger" }),
    ],
  );
  return said === true;
}

/** Copy a text, and say so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { class: "out", value: text }); // where the page was not opened over https
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied");
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
