// The bin: deletions that can be undone for some days. Asks how to delete, undoes, and lists what can be restored.

import { button, confirm, dialog, el, empty, fill, toast } from "./dom.js";
import { api, explain, may } from "./api.js";
import { n, t } from "./i18n.js";
import { thumbnail } from "./stage.js";
import { exactly, moment } from "./times.js";

/** For how many days deletions can be undone here; 0 if they cannot. */
export async function daysInBin(signal) {
  if (!may("write")) return 0;
  try {
    return (await api("/bin", { signal })).days;
  } catch (error) {
    if (signal?.aborted) throw error;
    return 0;
  }
}

/** Asks how something is to be deleted. Resolves with "bin", "erase", or null if the user does not want to. `erased` says what
 *  an erasure includes besides. */
export async function askHow(title, content, sure, days, erased = "") {
  const final = `${t("This cannot be undone.")} ${erased}`;
  if (!days) return (await confirm(title, el("div", { class: "stack" }, content, el("p", null, final)), sure)) ? "erase" : null;
  const choice = (value, text, about) =>
    el("label", { class: "choice" },
      el("input", { type: "radio", name: "how-deleted", value, checked: value === "bin" }),
      el("span", null, el("strong", null, text), el("span", { class: "small muted" }, about)));
  const choices = el("fieldset", { class: "choices" },
    el("legend", { class: "out" }, t("How to delete")),
    choice("bin", n(days, "Keep in the bin for {count} day", "Keep in the bin for {count} days"), t("It is no longer used from now on. Until then it can be restored; after that it is erased.")),
    choice("erase", t("Erase for good now"), final));
  const yes = await confirm(title, el("div", { class: "stack" }, content, choices), sure);
  return yes ? choices.querySelector("input:checked").value : null;
}

/** Says what was deleted, and offers to undo it. `ids`: of the deletions in the bin; `done` is called when they are undone. */
export function sayDeleted(text, ids, done) {
  if (!ids.length) return void toast(text);
  toast(text, { action: [t("Undo"), () => undo(ids, done)] });
}

async function undo(ids, done) {
  try {
    let restored;
    for (const id of ids) restored = await api(`/bin/${id}/restore`, { method: "POST" });
    toast(t("Restored"));
    done(restored);
  } catch (error) {
    toast(explain(error), { kind: "bad" });
  }
}

/** Shows what is in the bin. `changed` is called when something was restored. */
export function showBin(changed) {
  const list = el("ul", { class: "binned", "aria-live": "polite" });
  const about = el("p", { class: "muted" });

  const told = (work, said) => async () => {
    try {
      await work();
      toast(said);
      await load();
    } catch (error) {
      toast(explain(error), { kind: "bad" });
    }
  };

  async function load() {
    const { days, items } = await api("/bin");
    about.textContent = days ? n(days, "What is deleted here is kept for {count} day, then erased.", "What is deleted here is kept for {count} days, then erased.") : t("Deletions are final here.");
    fill(list, items.length ? items.map(row) : el("li", null, empty("trash", t("The bin is empty"), "")));
  }

  const row = (item) => {
    const name = item.kind === "person" ? n(item.photos, "{name}, {count} photo", "{name}, {count} photos", { name: item.subject }) : t("A photo of {name}", { name: item.subject });
    const restore = told(async () => (await api(`/bin/${item.id}/restore`, { method: "POST" }), changed()), t("{name} was restored", { name: item.subject }));
    const erase = async () => {
      if (await confirm(t("Erase for good?"), t("{name} will be erased now. This cannot be undone.", { name }), t("Erase"))) await told(() => api(`/bin/${item.id}`, { method: "DELETE" }), t("Erased"))();
    };
    return el("li", null,
      item.thumbnail ? thumbnail(item.thumbnail) : el("span", { class: "crop missing" }),
      el("span", { class: "stack tight" }, el("strong", null, name), el("span", { class: "small muted" }, t("until {time}", { time: exactly(moment(item.until)) }))),
      el("span", { class: "row" },
        button(t("Restore"), restore, { class: "little", icon: "undo", "aria-label": t("Restore: {name}", { name }) }),
        button(t("Erase"), erase, { class: "little", kind: "danger", "aria-label": t("Erase: {name}", { name }) })));
  };

  load().catch((error) => fill(list, el("li", { class: "notice" }, explain(error))));
  return dialog(t("Bin"), () => el("div", { class: "stack" }, about, list), (close) => [button(t("Close"), () => close(), { kind: "primary" })], { wide: true });
}
