// People: everybody who is enrolled, and the files in known_faces that are not used.

import { announce, button, confirm, el, empty, fill, icon, toast } from "./dom.js";
import { api, explain, may, told as saidOf } from "./api.js";
import { consentWords } from "./about-person.js";
import { showBin } from "./bin.js";
import { enrol } from "./enrol.js";
import { groupSwitch } from "./group.js";
import { Grid } from "./grid.js";
import { n, t } from "./i18n.js";
import { takesPhotos } from "./photos.js";
import { thumbnail } from "./stage.js";
import { moment, when } from "./times.js";
import { showPerson } from "./view-person.js";

export const title = t("People");

const TYPING = 180;

export async function show(main, context) {
  if (context.parts.length === 1) return showPerson(main, context, context.parts[0]);
  return showAll(main, context, context.parts[0] === "tag" ? context.parts[1] : null);
}

const ORDERS = { name: t("By name"), seen: t("Last seen first"), photos: t("Most photos first"), expires: t("Consent ends first") };
const ORDER_KEY = "people-order";

async function showAll(main, { signal, go, again: reload }, tag) {
  let search = "";
  const order = el("select", { "aria-label": t("Order") }, Object.entries(ORDERS).map(([value, text]) => el("option", { value }, text)));
  order.value = sessionStorage.getItem(ORDER_KEY) ?? "name";
  let typing;
  const count = el("p", { class: "number", "aria-live": "polite" }, "\u00a0");
  const field = el("input", { type: "search", "aria-label": t("Search by name"), placeholder: t("Search by name"), autocomplete: "off", spellcheck: "false" });
  const problems = el("div");
  const nothing = el("div");
  const load = async (offset, limit) => {
    const found = await api("/people", { query: { offset, limit, search, tag, sort: order.value === "name" ? null : order.value }, signal });
    return { total: found.total, items: found.people, problems: found.problems };
  };
  const grid = new Grid({ load, card, blank, least: 148, below: 76, gap: 16, signal, label: t("People") });
  const again = () => signal.aborted || refresh().catch((error) => signal.aborted || toast(explain(error), { kind: "bad" }));
  const many = async (given) => {
    try {
      const { takeMany } = await import("./view-import.js");
      if (await takeMany(given)) go("import");
    } catch (error) {
      toast(explain(error), { kind: "bad" });
    }
  };
  const add = async (files = []) => {
    const done = await enrol({ files, later: again, several: (photos) => many(photos.map((file) => ({ file }))) });
    if (done?.pending) again();
    else if (done && !signal.aborted) go("people", done.subject);
  };

  /** How many people have usable photos; null if that is unknown. */
  const recognisable = () => api("/health", { signal }).then(({ counts }) => counts.subjects, () => null);

  const adder = el("div", { class: "row", hidden: !may("write") }, button(t("Add many people"), () => go("import"), { icon: "folder" }), button(t("Add a person"), () => add(), { icon: "add", kind: "primary" }));

  async function refresh() {
    const [found, usable] = await Promise.all([grid.reset(), search || tag ? null : recognisable()]);
    if (!found) return;
    const without = usable === null ? 0 : Math.max(0, found.total - usable);
    count.textContent = !found.total && !search && !tag ? "\u00a0" : [
      search ? n(found.total, "{count} person matching “{search}”", "{count} people matching “{search}”", { search })
        : tag ? n(found.total, "{count} person with the tag “{tag}”", "{count} people with the tag “{tag}”", { tag }) : n(found.total, "{count} person", "{count} people"),
      search && tag && t("with the tag “{tag}”", { tag }),
      without > 0 && n(without, "{count} without usable photos", "{count} without usable photos"),
    ].filter(Boolean).join(t(", "));
    grid.node.hidden = !found.total;
    adder.hidden = !may("write") || (!found.total && !search && !tag); // the placeholder for newcomers has its own button
    field.parentElement.hidden = order.hidden = !found.total && !search && !tag;
    fill(problems, notUsed(found.problems, { name: told(name), erase: told(erase), open: problems.querySelector("details")?.open }));
    fill(nothing, !found.total && (search || tag ? empty("search", t("No matches"), tag ? t("Nobody has this tag.") : t("Try part of the name.")) : newcomer()));
    if (search) announce(count.textContent);
  }

  // -- files directly in known_faces -----------------------------------------------------------------------------

  const told = (work) => async (file) => {
    try {
      if (await work(file)) await refresh();
    } catch (error) {
      if (!signal.aborted) toast(explain(error), { kind: "bad" });
    }
  };

  const remove = (file) => api(`/unsorted/${encodeURIComponent(file)}`, { method: "DELETE" });

  /** Enrols the file as a person's photo, then deletes the original; if enrolment fails, the file is kept. */
  async function name(file) {
    const blob = await api(`/unsorted/${encodeURIComponent(file)}`, { accept: "image/*", signal });
    const photo = new File([blob], file, { type: blob.type });
    const clear = async (done) => done?.files.includes(photo) && remove(file);
    const done = await enrol({ files: [photo], later: told(async (result) => (await clear(result), true)) });
    await clear(done);
    return Boolean(done);
  }

  async function erase(file) {
    if (!(await confirm(t("Delete this file?"), t("{file} will be permanently deleted from known_faces.", { file }), t("Delete file")))) return false;
    await remove(file);
    toast(t("The file was deleted"));
    return true;
  }

  const newcomer = () =>
    empty(
      "people", t("Nobody is enrolled yet"),
      may("write") ? t("Add the first person: enter a name and drop a few photos. Or put photos into known_faces, one folder per person.") : t("Users with the role write can add people here."),
      may("write") && button(t("Add a person"), () => add(), { icon: "add", kind: "primary" }),
      may("write") && button(t("Add many people"), () => go("import"), { icon: "folder" }),
    );

  field.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      search = field.value.trim();
      again();
    }, TYPING);
  });
  order.addEventListener("change", () => {
    sessionStorage.setItem(ORDER_KEY, order.value);
    again();
  });
  const groups = await groupSwitch(signal, reload);
  const bin = may("write") && button("", () => showBin(again), { icon: "trash", label: t("Bin") });
  takesPhotos(main, add, signal, many);
  fill(
    main,
    el("div", { class: "view-head" }, el("div", null, tag && el("a", { class: "back", href: "#/people" }, icon("back"), t("All people")), el("h1", null, t("People")), count),
      el("div", { class: "row people-tools" }, groups, el("div", { class: "with-icon" }, icon("search"), field), order, bin, adder)),
    problems, nothing, grid.node,
  );
  await refresh();
}

function card(person) {
  return el(
    "a", { class: "person", href: `#/people/${encodeURIComponent(person.name)}` },
    person.thumbnail ? thumbnail(person.thumbnail) : el("span", { class: "crop missing" }, icon("face")),
    el("span", { class: "person-name", title: person.name }, person.name),
    el("span", { class: "muted small" }, n(person.photos, "{count} photo", "{count} photos"), person.problems > 0 && el("span", { class: "bad-words" }, t(", "), n(person.problems, "{count} not used", "{count} not used"))),
    el("span", { class: "muted small" }, consentWords(person) ?? (person.last_seen ? t("Seen {when}", { when: when(moment(person.last_seen)) }) : "")),
  );
}

const blank = () => el("span", { class: "person blank" }, el("span", { class: "crop" }));

/** The list of unused files; `name` and `erase` handle a file that is not in a person's folder. */
function notUsed(found, { name, erase, open }) {
  if (!found.length) return null;
  const right = (each) => {
    if (each.subject) return el("a", { href: `#/people/${encodeURIComponent(each.subject)}` }, t("Fix"));
    if (each.code !== "not_in_a_folder" || !may("write")) return el("span", { class: "muted small" }, t("Can only be fixed in the folder"));
    return el("span", { class: "row" },
      button(t("Enrol"), () => name(each.file), { class: "little", "aria-label": t("Enrol {name}", { name: each.file }) }),
      button(t("Delete"), () => erase(each.file), { class: "little", kind: "danger", "aria-label": t("Delete {name}", { name: each.file }) }));
  };
  return el(
    "details", { class: "card problems", open },
    el("summary", null, icon("warning"), el("span", null, n(found.length, "{count} file in known_faces is not used", "{count} files in known_faces are not used"))),
    el(
      "ul", { class: "problem-list" },
      found.slice(0, 200).map((each) =>
        el("li", null, el("code", null, each.file), el("span", null, saidOf(each)),
          right(each)),
      ),
      found.length > 200 && el("li", { class: "muted" }, t("and {count} more", { count: found.length - 200 })),
    ),
  );
}
