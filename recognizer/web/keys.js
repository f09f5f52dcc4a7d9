// API keys: made, shown once, revoked.

import { button, confirm, copy, dialog, el, fill, icon, toast } from "./dom.js";
import { api, explain, session, signIn } from "./api.js";
import { day, exactly, moment } from "./times.js";

const ROLES = {
  read: ["Read", "recognises, watches, and sees who is enrolled"],
  write: ["Write", "also enrols, erases, and names strangers"],
  admin: ["Admin", "does everything: cameras, keys, settings"],
};
const LASTING = [["30", "30 days"], ["90", "90 days"], ["365", "a year"], ["0", "for ever"]];
const STATES = { valid: ["valid", "good"], expired: ["expired", "warn"], revoked: ["revoked", "bad"] };

/** The section, and a promise of its first content. */
export function keysSection(signal) {
  const body = el("div", { class: "stack" });
  const node = el("section", { class: "card stack", "aria-labelledby": "keys-title" },
    el("div", { class: "spread" }, el("h2", { id: "keys-title" }, "Keys"), button("Make a key", () => make(), { icon: "add" })), body);
  let open = false;

  async function load() {
    try {
      const { keys, setting } = await api("/keys", { signal });
      open = !keys.length && !setting;
      const living = keys.filter((each) => each.state === "valid");
      const over = keys.filter((each) => each.state !== "valid");
      fill(
        body,
        open
          ? el("p", { class: "muted" }, "There are no keys: whoever is at this machine may do everything, and nobody else may do anything. With the first key, the server asks everybody for one, also at this machine.")
          : el("p", { class: "muted" }, "Programs show a key with every request; people sign in with one. Each may be revoked without the others noticing."),
        setting && el("p", { class: "notice" }, icon("key"), el("span", null, "One more key with the role admin is set by ", el("code", null, "RECOGNIZER_ADMIN_KEY"), ". It can be changed there, and nowhere else.")),
        living.length > 0 && el("ul", { class: "keys", "aria-label": "Keys" }, living.map(row)),
        over.length > 0 && el("details", null, el("summary", null, icon("trash"), el("span", null, `${over.length} that ended`)), el("ul", { class: "keys", "aria-label": "Keys that ended" }, over.map(row))),
      );
    } catch (error) {
      if (error.name !== "AbortError") fill(body, el("p", { class: "field-error", role: "alert" }, explain(error)));
    }
  }

  function row(key) {
    const [words, kind] = STATES[key.state];
    const mine = session.key?.id === key.id;
    const ends = key.state === "revoked" ? `revoked ${day(moment(key.revoked))}` : key.expires === null ? "never expires" : `${key.state === "expired" ? "expired" : "expires"} ${FUTURE.format(moment(key.expires))}`;
    return el(
      "li", { class: "key" }, icon("key"),
      el("div", { class: "key-about" }, el("span", { class: "key-name" }, key.name, mine && el("span", { class: "tag" }, "you")),
        el("span", { class: "muted small", title: exactly(moment(key.made)) }, `made ${day(moment(key.made))}, ${ends}`), el("code", { class: "small muted" }, `rk_${key.id}_…`)),
      el("span", { class: "tag", title: ROLES[key.role][1] }, ROLES[key.role][0]),
      key.state === "valid" ? button("Revoke", () => revoke(key), { kind: "danger", class: "little", label: `Revoke ${key.name}` }) : el("span", { class: `tag ${kind}` }, words),
    );
  }

  async function revoke(key) {
    const mine = session.key?.id === key.id;
    const text = el("div", { class: "stack" }, el("p", null, "Whoever uses it is refused from now on, and the sessions that were begun with it end. It cannot be taken back."),
      mine && el("p", { class: "notice warn" }, icon("warning"), el("span", null, "You are signed in with this key, and will have to sign in with another.")));
    if (!(await confirm(`Revoke ${key.name}?`, text, "Revoke"))) return;
    try {
      await api(`/keys/${encodeURIComponent(key.id)}`, { method: "DELETE" });
      toast(`${key.name} is revoked`);
      await load();
    } catch (error) {
      toast(explain(error), { kind: "bad" });
    }
  }

  async function make() {
    const first = open;
    const made = await askForKey(first);
    if (!made) return;
    if (first) {
      try {
        await signIn(made.key); // before anything else is asked: the house is locked now
      } catch (error) {
        toast(explain(error), { kind: "bad" });
      }
    }
    await showKey(made, first);
    if (first) location.reload();
    else await load();
  }

  return { node, ready: load() };
}

const FUTURE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" });

/** Resolves with the key that was made, or undefined. */
function askForKey(first) {
  const name = el("input", { id: "key-name", autocomplete: "off", maxlength: "100", required: true, placeholder: first ? "me" : "front door", autofocus: true, "aria-describedby": "key-problem" });
  const role = el("select", { id: "key-role", disabled: first }, Object.entries(ROLES).map(([value, [title, words]]) => el("option", { value }, `${title}: ${words}`)));
  role.value = first ? "admin" : "read";
  const days = el("select", { id: "key-days" }, LASTING.map(([value, words]) => el("option", { value }, words)));
  days.value = "365";
  const problem = el("p", { id: "key-problem", class: "field-error", role: "alert" });
  let save;
  const send = async (close) => {
    problem.textContent = "";
    if (!name.value.trim()) {
      problem.textContent = "Say what the key is for.";
      return name.focus();
    }
    save.disabled = true;
    try {
      close(await api("/keys", { json: { name: name.value.trim(), role: role.value, days: Number(days.value) } }));
    } catch (error) {
      problem.textContent = explain(error);
      name.focus();
    } finally {
      save.disabled = false;
    }
  };
  return dialog(
    first ? "Make the first key" : "Make a key",
    (close) => {
      const form = el(
        "form", { class: "stack", novalidate: true },
        first && el("p", { class: "notice warn" }, icon("warning"), el("span", null, "This locks the server: from now on everybody needs a key, also programs at this machine that did without. You are signed in with this one at once. Keep it, or ", el("code", null, "python -m recognizer keys add"), " has to make another.")),
        el("div", { class: "field" }, el("label", { for: "key-name" }, "What is it for?"), name, problem),
        el("div", { class: "field" }, el("label", { for: "key-role" }, "What it may do"), role, first && el("p", { class: "muted small" }, "The first key has to be one that can make others.")),
        el("div", { class: "field" }, el("label", { for: "key-days" }, "How long it counts"), days),
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), send(close)));
      form.append(el("button", { type: "submit", hidden: true, tabindex: "-1", "aria-hidden": "true" }));
      return form;
    },
    (close) => [button("Cancel", () => close()), (save = button(first ? "Make it and lock" : "Make it", () => send(close), { kind: "primary" }))],
  );
}

function showKey(made, first) {
  return dialog(
    "Copy the key now",
    () => [
      el("p", null, "It is shown this once. The server keeps only a hash of it."),
      el("div", { class: "code" }, el("pre", { class: "new-key", tabindex: "0", "aria-label": "The key" }, made.key), button("", () => copy(made.key), { icon: "copy", kind: "quiet", label: "Copy the key" })),
      first && el("p", { class: "muted" }, "You are signed in with it in this browser."),
    ],
    (close) => [button("Copy", () => copy(made.key), { icon: "copy", kind: "primary", autofocus: true }), button("I have it", () => close())],
  );
}
