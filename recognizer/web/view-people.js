// People: everybody who is enrolled, and what of known_faces is not used.

import { announce, button, confirm, el, empty, fill, icon, plural, toast } from "./dom.js";
import { api, explain, may } from "./api.js";
import { enrol } from "./enrol.js";
import { Grid } from "./grid.js";
import { thumbnail } from "./stage.js";
import { showPerson } from "./view-person.js";

export const title = "People";

const TYPING = 180;

export async function show(main, context) {
  if (context.parts.length) return showPerson(main, context, context.parts[0]);
  return showAll(main, context);
}

async function showAll(main, { signal, go }) {
  let search = "";
  let typing;
  const count = el("p", { class: "number", "aria-live": "polite" }, "\u00a0");
  const field = el("input", { type: "search", "aria-label": "Search by name", placeholder: "Search by name", autocomplete: "off", spellcheck: "false" });
  const problems = el("div");
  const nothing = el("div");
  const load = async (offset, limit) => {
    const found = await api("/people", { query: { offset, limit, search }, signal });
    return { total: found.total, items: found.people, problems: found.problems };
  };
  const grid = new Grid({ load, card, blank, least: 148, below: 58, gap: 16, signal, label: "People" });
  const add = async () => {
    const done = await enrol();
    if (done) go("people", done.subject);
  };

  const adder = button("Add a person", add, { icon: "add", kind: "primary", hidden: !may("write") });

  async function refresh() {
    const found = await grid.reset();
    if (!found) return;
    count.textContent = !found.total && !search ? "\u00a0" : search ? `${plural(found.total, "person", "people")} with “${search}” in the name` : plural(found.total, "person", "people");
    grid.node.hidden = !found.total;
    adder.hidden = !may("write") || (!found.total && !search); // then the sentence for newcomers has one
    field.parentElement.hidden = !found.total && !search;
    fill(problems, notUsed(found.problems, { name: told(name), erase: told(erase), open: problems.querySelector("details")?.open }));
    fill(nothing, !found.total && (search ? empty("search", "Nobody of that name", "Try a part of the name.") : newcomer()));
    if (search) announce(count.textContent);
  }

  // -- files that lie in known_faces itself ---------------------------------------------------------------------

  const told = (work) => async (file) => {
    try {
      if (await work(file)) await refresh();
    } catch (error) {
      if (!signal.aborted) toast(explain(error), { kind: "bad" });
    }
  };

  const remove = (file) => api(`/unsorted/${encodeURIComponent(file)}`, { method: "DELETE" });

  /** Enrol it as somebody's, then erase it where it was: nothing is lost should the first fail. */
  async function name(file) {
    const blob = await api(`/unsorted/${encodeURIComponent(file)}`, { accept: "image/*", signal });
    const photo = new File([blob], file, { type: blob.type });
    const done = await enrol({ files: [photo] });
    if (!done) return false;
    if (done.files.includes(photo)) await remove(file);
    return true;
  }

  async function erase(file) {
    if (!(await confirm("Erase this file?", `${file} is erased from known_faces, for good.`, "Erase the file"))) return false;
    await remove(file);
    toast("The file was erased");
    return true;
  }

  const newcomer = () =>
    empty(
      "people", "Nobody is enrolled yet",
      may("write") ? "Add the first person: say their name and drop a few photos of them. Or put photos into known_faces, one folder per person." : "Whoever may add people can do it here.",
      may("write") && button("Add a person", add, { icon: "add", kind: "primary" }),
    );

  field.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      search = field.value.trim();
      refresh().catch((error) => signal.aborted || toast(explain(error), { kind: "bad" }));
    }, TYPING);
  });
  fill(
    main,
    el("div", { class: "view-head" }, el("div", null, el("h1", null, "People"), count),
      el("div", { class: "row people-tools" }, el("div", { class: "with-icon" }, icon("search"), field), adder)),
    problems, nothing, grid.node,
  );
  await refresh();
}

function card(person) {
  return el(
    "a", { class: "person", href: `#/people/${encodeURIComponent(person.name)}` },
    person.thumbnail ? thumbnail(person.thumbnail) : el("span", { class: "crop missing" }, icon("face")),
    el("span", { class: "person-name", title: person.name }, person.name),
    el("span", { class: "muted small" }, plural(person.photos, "photo"), person.problems > 0 && el("span", { class: "bad-words" }, `, ${person.problems} not used`)),
  );
}

const blank = () => el("span", { class: "person blank" }, el("span", { class: "crop" }));

/** What is not used; `name` and `erase` put a file right that is nobody's. */
function notUsed(found, { name, erase, open }) {
  if (!found.length) return null;
  const right = (each) => {
    if (each.subject) return el("a", { href: `#/people/${encodeURIComponent(each.subject)}` }, "Put it right");
    if (each.code !== "not_in_a_folder" || !may("write")) return el("span", { class: "muted small" }, "Only in the folder itself");
    return el("span", { class: "row" },
      button("Say who it is", () => name(each.file), { class: "little", "aria-label": `Say who is on ${each.file}` }),
      button("Erase", () => erase(each.file), { class: "little", kind: "danger", "aria-label": `Erase ${each.file}` }));
  };
  return el(
    "details", { class: "card problems", open },
    el("summary", null, icon("warning"), el("span", null, `${plural(found.length, "file")} of known_faces ${found.length === 1 ? "is" : "are"} not used`)),
    el(
      "ul", { class: "problem-list" },
      found.slice(0, 200).map((each) =>
        el("li", null, el("code", null, each.file), el("span", null, each.message),
          right(each)),
      ),
      found.length > 200 && el("li", { class: "muted" }, `and ${found.length - 200} more`),
    ),
  );
}
