// The API keys section of Settings: creating and revoking keys.

import { button, confirm, copy, dialog, el, fill, icon, toast } from "./dom.js";
import { api, explain, session, signIn } from "./api.js";
import { locale, mixed, n, t } from "./i18n.js";
import { day, exactly, moment } from "./times.js";

export const ROLES = {
  read: [t("Read"), t("recognise faces, view cameras, list people")],
  write: [t("Write"), t("also enrol, delete, and name strangers")],
  admin: [t("Admin"), t("full access")],
};
const LASTING = [["30", n(30, "{count} day", "{count} days")], ["90", n(90, "{count} day", "{count} days")], ["365", t("1 year")], ["0", t("no expiry")]];
const STATES = { valid: [t("valid"), "good"], expired: [t("expired"), "warn"], revoked: [t("revoked"), "bad"] };

/** Returns the section's node and a promise for its first content. */
export function keysSection(signal) {
  const body = el("div", { class: "stack" });
  const node = el("section", { class: "card stack", "aria-labelledby": "keys-title" },
    el("div", { class: "spread" }, el("h2", { id: "keys-title" }, t("API keys")), button(t("Create a key"), () => make(), { icon: "add" })), body);
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
          ? el("p", { class: "muted" }, t("There are no keys: anyone on this machine has full access, and other machines have none. Once you create the first key, every client needs a key, including those on this machine."))
          : el("p", { class: "muted" }, t("Programs send a key with every request; people sign in with one. Revoking a key does not affect the others.")),
        setting && el("p", { class: "notice" }, icon("key"), el("span", null, mixed("Another key with the role admin is set by {setting} and can only be changed there.", { setting: el("code", null, "RECOGNIZER_ADMIN_KEY") }))),
        living.length > 0 && el("ul", { class: "keys", "aria-label": t("Active keys") }, living.map(row)),
        over.length > 0 && el("details", null, el("summary", null, icon("trash"), el("span", null, n(over.length, "{count} inactive key", "{count} inactive keys"))), el("ul", { class: "keys", "aria-label": t("Inactive keys") }, over.map(row))),
      );
    } catch (error) {
      if (error.name !== "AbortError") fill(body, el("p", { class: "field-error", role: "alert" }, explain(error)));
    }
  }

  function row(key) {
    const [words, kind] = STATES[key.state];
    const mine = session.key?.id === key.id;
    const ends = key.state === "revoked" ? t("revoked {day}", { day: day(moment(key.revoked)) }) : key.expires === null ? t("never expires") : key.state === "expired" ? t("expired {day}", { day: FUTURE.format(moment(key.expires)) }) : t("expires {day}", { day: FUTURE.format(moment(key.expires)) });
    return el(
      "li", { class: "key" }, icon("key"),
      el("div", { class: "key-about" }, el("span", { class: "key-name" }, key.name, mine && el("span", { class: "tag" }, t("you"))),
        el("span", { class: "muted small", title: exactly(moment(key.made)) }, t("created {day}, {ends}", { day: day(moment(key.made)), ends })), el("code", { class: "small muted" }, `rk_${key.id}_…`)),
      el("span", { class: "tag", title: ROLES[key.role][1] }, ROLES[key.role][0]),
      key.state === "valid" ? button(t("Revoke"), () => revoke(key), { kind: "danger", class: "little", label: t("Revoke {name}", { name: key.name }) }) : el("span", { class: `tag ${kind}` }, words),
    );
  }

  async function revoke(key) {
    const mine = session.key?.id === key.id;
    const text = el("div", { class: "stack" }, el("p", null, t("Requests with this key will be rejected, and sessions started with it will end. This cannot be undone.")),
      mine && el("p", { class: "notice warn" }, icon("warning"), el("span", null, t("You are signed in with this key and will have to sign in with another one."))));
    if (!(await confirm(t("Revoke {name}?", { name: key.name }), text, t("Revoke")))) return;
    try {
      await api(`/keys/${encodeURIComponent(key.id)}`, { method: "DELETE" });
      toast(t("{name} was revoked", { name: key.name }));
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
        await signIn(made.key); // first, because the server requires a key from now on
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

const FUTURE = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });

/** Resolves with the new key, or undefined. */
function askForKey(first) {
  const name = el("input", { id: "key-name", autocomplete: "off", maxlength: "100", required: true, placeholder: first ? t("me") : t("front door"), autofocus: true, "aria-describedby": "key-problem" });
  const role = el("select", { id: "key-role", disabled: first }, Object.entries(ROLES).map(([value, [title, words]]) => el("option", { value }, `${title}: ${words}`)));
  role.value = first ? "admin" : "read";
  const days = el("select", { id: "key-days" }, LASTING.map(([value, words]) => el("option", { value }, words)));
  days.value = "365";
  const problem = el("p", { id: "key-problem", class: "field-error", role: "alert" });
  let save;
  const send = async (close) => {
    problem.textContent = "";
    if (!name.value.trim()) {
      problem.textContent = t("Enter a name for the key.");
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
    first ? t("Create the first key") : t("Create a key"),
    (close) => {
      const form = el(
        "form", { class: "stack", novalidate: true },
        first && el("p", { class: "notice warn" }, icon("warning"), el("span", null, mixed("This locks the server: every client will need a key, including programs on this machine. You will be signed in with the new key. If you lose it, create another one with {command}.", { command: el("code", null, "python -m recognizer keys add") }))),
        el("div", { class: "field" }, el("label", { for: "key-name" }, t("Name")), name, problem),
        el("div", { class: "field" }, el("label", { for: "key-role" }, t("Role")), role, first && el("p", { class: "muted small" }, t("The first key must be able to create others."))),
        el("div", { class: "field" }, el("label", { for: "key-days" }, t("Valid for")), days),
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), send(close)));
      form.append(el("button", { type: "submit", hidden: true, tabindex: "-1", "aria-hidden": "true" }));
      return form;
    },
    (close) => [button(t("Cancel"), () => close()), (save = button(first ? t("Create and lock") : t("Create"), () => send(close), { kind: "primary" }))],
  );
}

function showKey(made, first) {
  return dialog(
    t("Copy the key now"),
    () => [
      el("p", null, t("It is shown only once. The server stores only a hash of it.")),
      el("div", { class: "code" }, el("pre", { class: "new-key", tabindex: "0", "aria-label": t("New key") }, made.key), button("", () => copy(made.key), { icon: "copy", kind: "quiet", label: t("Copy key") })),
      first && el("p", { class: "muted" }, t("You are signed in with it in this browser.")),
    ],
    (close) => [button(t("Copy"), () => copy(made.key), { icon: "copy", kind: "primary", autofocus: true }), button(t("I have saved it"), () => close())],
  );
}
