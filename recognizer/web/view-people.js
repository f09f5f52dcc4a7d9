// People: everybody who is enrolled, and what of known_faces is not used.

import { announce, button, el, empty, fill, icon, plural, toast } from "./dom.js";
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
    fill(problems, notUsed(found.problems));
    fill(nothing, !found.total && (search ? empty("search", "Nobody of that name", "Try a part of the name.") : newcomer()));
    if (search) announce(count.textContent);
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
    el("span", { class: "person-name" }, person.name),
    el("span", { class: "muted small" }, plural(person.photos, "photo"), person.problems > 0 && el("span", { class: "bad-words" }, `, ${person.problems} not used`)),
  );
}

const blank = () => el("span", { class: "person blank" }, el("span", { class: "crop" }));

function notUsed(found) {
  if (!found.length) return null;
  return el(
    "details", { class: "card problems" },
    el("summary", null, icon("warning"), el("span", null, `${plural(found.length, "file")} of known_faces ${found.length === 1 ? "is" : "are"} not used`)),
    el(
      "ul", { class: "problem-list" },
      found.slice(0, 200).map((each) =>
        el("li", null, el("code", null, each.file), el("span", null, each.message),
          each.subject ? el("a", { href: `#/people/${encodeURIComponent(each.subject)}` }, "Put it right") : el("span", { class: "muted small" }, "Only in the folder itself")),
      ),
      found.length > 200 && el("li", { class: "muted" }, `and ${found.length - 200} more`),
    ),
  );
}
