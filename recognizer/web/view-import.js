// Import: adds photos of many people. Shows what would be added, then how far it is, then what was refused and the remedies.

import { button, confirm, dialog, el, fill, icon, toast } from "./dom.js";
import { may } from "./api.js";
import { preview } from "./enrol.js";
import { n, number, t } from "./i18n.js";
import { currentImport, plan } from "./importing.js";
import { chooseMany, collect, table } from "./intake.js";
import { pickFace } from "./pick.js";
import { dropzone, takesTrees } from "./photos.js";

export const title = t("Add many people");

/** Rows that are shown at once; more are shown on demand, so that thousands do not slow the browser. */
const SHOWN = 100;
const OTHERS = 50;

/** What can be done about photos that were refused with a code: the words for one and for all, and the options of POST /enroll. */
const REMEDIES = {
  several_faces: [t("Use the largest face"), t("Use the largest face in all"), { face: "largest" }],
  looks_like_another: [t("Add anyway"), t("Add all anyway"), { force: "true" }],
  poor_photo: [t("Add anyway"), t("Add all anyway"), { force: "true" }],
  stopped: [t("Add"), t("Add all"), {}],
};
const TRY_AGAIN = [t("Try again"), t("Try all again"), {}];
const remedyFor = (item) => REMEDIES[item.code] ?? (item.canBeTriedAgain ? TRY_AGAIN : null);

/** Titles of the parts of the report, by code. */
const TITLES = {
  several_faces: t("Several faces"), looks_like_another: t("Looks like somebody else"), poor_photo: t("Not good enough"), no_face: t("No face"),
  face_too_small: t("The face is too small"), stopped: t("Not sent"), invalid_name: t("The name was refused"), name_taken: t("The name is taken"),
  unreadable: t("The file could not be read"), unsupported_image: t("Not a supported format"), broken_image: t("Damaged photos"), image_too_large: t("Too large"),
};

/** Collects what was given, and plans the import; returns whether there is something to show. */
export async function takeMany(given) {
  const there = currentImport();
  if (there && there.state !== "planned" && there.unfinished) {
    toast(t("Nothing was added: another import is not finished"), { kind: "bad", action: [t("Show"), () => (location.hash = "#/import")] });
    return false;
  }
  const note = toast(t("Reading..."), { stays: true, icon: "upload" });
  try {
    const { tables, ...found } = await collect(given, (count) => note.say(n(count, "Reading: {count} photo...", "Reading: {count} photos...")));
    if (!found.photos.length && !tables.length && !there) {
      const why = found.problems[0] ?? (found.others.length ? t("{name} is not a photo.", { name: found.others[0] }) : t("There are no photos in it."));
      toast(`${t("Nothing was added.")} ${why}`, { kind: "bad" });
      return false;
    }
    plan({ ...found, rows: tables.flatMap(table) });
    return true;
  } finally {
    note.close();
  }
}

export async function show(main, context) {
  if (!may("write")) return void fill(main, el("h1", null, title), el("p", { class: "muted" }, t("Adding people requires a key with the role write.")));
  new View(main, context).draw();
}

class View {
  constructor(main, { signal, go }) {
    Object.assign(this, { main, signal, go, shown: SHOWN });
    this.pictures = new Pictures(signal);
    takesTrees(main, (given) => this.take(given), signal);
  }

  async take(given) {
    if (await takeMany(given)) this.signal.aborted || this.draw();
  }

  draw() {
    this.listening?.abort();
    const mine = (this.listening = new AbortController());
    this.signal.addEventListener("abort", () => mine.abort(), { once: true });
    const job = (this.job = currentImport());
    if (!job) return this.drawStart();
    job.note?.close();
    this.state = job.state;
    if (job.state === "planned") this.drawPlan();
    else this.drawReport();
    const soon = () => (this.frame ??= requestAnimationFrame(() => ((this.frame = null), mine.signal.aborted || this.refresh())));
    job.addEventListener("change", soon, { signal: mine.signal });
  }

  refresh() {
    if (currentImport() !== this.job || this.job.state === "planned" !== (this.state === "planned")) return this.draw();
    if (this.state === "planned") this.drawGroups();
    else this.drawProgress();
  }

  ways(kind = "") {
    const take = (given) => this.take(given);
    return [
      button(t("Choose a folder"), () => chooseMany(take, { folder: true }), { icon: "folder", kind: kind || "primary" }),
      button(t("Choose files"), () => chooseMany(take), { icon: "upload" }),
    ];
  }

  head(text, ...buttons) {
    return [
      el("a", { class: "back", href: "#/people" }, icon("back"), t("People")),
      el("div", { class: "view-head" }, el("div", null, el("h1", null, title), text), el("div", { class: "row" }, buttons)),
    ];
  }

  drawStart() {
    fill(
      this.main,
      this.head(el("p", null, t("The names are taken from folders, from the names of the files, or from a CSV file. You see them before anything is added."))),
      dropzone(t("Drop a folder, a ZIP file or photos here"), t("A folder for each person, files like “Joe Biden 1.jpg”, or photos with a CSV file of the columns file and name."), ...this.ways()),
    );
  }

  // -- the plan -------------------------------------------------------------------------------------------------

  drawPlan() {
    const { job } = this;
    this.count = el("p", { class: "number", role: "status" });
    this.list = el("ul", { class: "import-people" });
    this.more = el("div");
    this.begin = button(t("Add"), () => this.start(), { kind: "primary" });
    const by = (value, text, disabled) => el("label", { class: "choice" }, el("input", { type: "radio", name: "by", value, checked: job.by === value, disabled, on: { change: () => job.arrange(value) } }), el("span", null, text));
    const faces = el("select", { id: "faces", on: { change: () => (job.face = faces.value) } }, el("option", { value: "only" }, t("Ask me afterwards")), el("option", { value: "largest" }, t("Use the largest face")));
    faces.value = job.face;
    const folders = job.photos.some((photo) => photo.path.includes("/"));
    fill(
      this.main,
      this.head(this.count, button(t("Discard"), () => this.discard(), { kind: "danger" }), this.begin),
      el("div", { class: "card import-how" },
        el("fieldset", null, el("legend", null, t("Names from")),
          el("div", { class: "row" }, by("folder", t("folders"), !folders), by("file", t("names of the files")), by("table", t("a CSV file"), !job.rows.length))),
        el("div", { class: "field" }, el("label", { for: "faces" }, t("Photos of several people")), faces),
        el("div", { class: "field" }, el("span", { class: "label" }, t("Add to the list")), el("div", { class: "row" }, this.ways("quiet")))),
      this.remarks(), this.list, this.more,
    );
    this.drawGroups();
  }

  /** What was not taken. */
  remarks() {
    const { others, problems, missing } = this.job;
    const listed = (title, files) => files.length > 0 && el("details", { class: "card problems" },
      el("summary", null, icon("warning"), el("span", null, title)),
      el("ul", { class: "problem-list" }, files.slice(0, OTHERS).map((file) => el("li", null, el("code", null, file))), files.length > OTHERS && el("li", { class: "muted" }, t("and {count} more", { count: files.length - OTHERS }))));
    return [
      problems.map((text) => el("p", { class: "notice bad" }, icon("warning"), el("span", null, text))),
      listed(n(others.length, "{count} file is not a photo", "{count} files are not photos"), others),
      listed(n(missing.length, "{count} file of the CSV file is not among the photos", "{count} files of the CSV file are not among the photos"), missing),
    ];
  }

  drawGroups() {
    const { job } = this;
    if (this.arranged !== job.groups) {
      this.arranged = job.groups;
      this.list.replaceChildren();
      const first = job.groups.slice(0, this.shown);
      this.list.append(...first.map((group) => this.person(group)));
      const left = job.groups.length - first.length;
      fill(this.more, left > 0 && button(n(left, "Show {count} more person", "Show {count} more people"), () => ((this.shown = Infinity), (this.arranged = null), this.drawGroups())));
    }
    for (const row of this.list.children) row.said();
    const undecided = job.undecided.length;
    const ready = job.chosen.filter((group) => !group.trouble);
    const photos = ready.reduce((sum, group) => sum + group.items.length, 0);
    const people = new Set(ready.map((group) => group.name.trim())).size;
    this.count.textContent = [
      n(job.photos.length, "{count} photo", "{count} photos"), n(people, "{count} person", "{count} people"),
      undecided && n(undecided, "{count} needs a decision", "{count} need a decision"),
    ].filter(Boolean).join(t(", "));
    this.begin.lastChild.textContent = t("Add {photos} of {people}", { photos: n(photos, "{count} photo", "{count} photos"), people: n(people, "{count} person", "{count} people") });
    this.begin.disabled = !photos;
  }

  person(group) {
    const note = el("span", { class: "small" });
    const many = n(group.items.length, "{count} photo", "{count} photos");
    const about = group.items[0].source.path;
    const name = el("input", { value: group.name, "aria-label": t("Name of the person in {path}", { path: about }), autocomplete: "off", spellcheck: "false", maxlength: "200", placeholder: t("Name"), on: { input: () => ((group.name = name.value), this.drawGroups()) } });
    const box = el("input", { type: "checkbox", checked: group.included, "aria-label": t("Add the photos in {path}", { path: about }), on: { change: () => ((group.included = box.checked), this.drawGroups()) } });
    const row = el("li", { class: "import-person" }, box, this.pictures.of(group.items[0].source), el("div", { class: "import-name" }, name, el("span", { class: "muted small import-path", title: about }, group.items.length > 1 ? t("{photos}, such as {path}", { photos: many, path: about }) : about)), note);
    row.said = () => {
      const { trouble } = group;
      const enrolled = this.job.enrolled.get(group.name.trim());
      row.classList.toggle("left-out", !group.included);
      name.setAttribute("aria-invalid", String(Boolean(group.included && trouble)));
      note.className = group.included && trouble ? "tag bad" : "tag";
      note.textContent = !group.included ? t("Left out") : trouble || (enrolled ? n(enrolled, "Has {count} photo", "Has {count} photos") : t("New"));
    };
    return row;
  }

  async start() {
    const { job } = this;
    const left = job.undecided.flatMap((group) => group.items).length;
    if (left && !(await confirm(t("Continue without these photos?"), n(left, "{count} photo has no valid name and will not be added.", "{count} photos have no valid name and will not be added."), t("Continue without them"), { kind: "primary" }))) return;
    job.start();
    this.signal.aborted || this.draw();
  }

  async discard() {
    if (!(await confirm(t("Discard this list?"), n(this.job.photos.length, "{count} photo will not be added. The files stay where they are.", "{count} photos will not be added. The files stay where they are."), t("Discard")))) return;
    this.job.discard();
    this.signal.aborted || this.draw();
  }

  // -- progress and report --------------------------------------------------------------------------------------

  drawReport() {
    this.count = el("p", { class: "number" });
    this.bar = el("progress", { max: 1, value: 0, "aria-label": t("Import") });
    this.tools = el("div", { class: "row" });
    this.why = el("div");
    this.refused = el("div", { class: "stack" });
    this.parts = new Map();
    this.said = "";
    fill(this.main, this.head(this.count, this.tools), this.bar, this.why, this.refused);
    this.drawProgress();
  }

  drawProgress() {
    const { job } = this;
    const { all, over } = job.progress;
    const left = job.timeLeft;
    const busy = job.state !== "done";
    this.count.textContent = busy ? [n(all, "{over} of {count} photo done", "{over} of {count} photos done", { over }), left && t("about {left} left", { left }), job.state === "paused" && t("paused")].filter(Boolean).join(t(", ")) : `${job.outcome()}.`;
    this.bar.hidden = !busy;
    this.bar.value = all ? over / all : 0;
    if (this.said !== `${job.state} ${job.why}`) {
      this.said = `${job.state} ${job.why}`;
      fill(this.tools,
        job.state === "running" && button(t("Pause"), () => job.pause()),
        job.state === "paused" && button(t("Continue"), () => job.resume(), { kind: "primary" }),
        busy && button(t("End"), () => this.end(), { kind: "danger" }),
        !busy && button(t("Save the report"), () => this.save(), { icon: "download" }),
        !busy && button(t("Done"), () => this.close(), { kind: "primary" }));
      fill(this.why, job.why && el("p", { class: "notice bad", role: "alert" }, icon("warning"), el("span", null, job.why)),
        busy && el("p", { class: "notice" }, icon("upload"), el("span", null, t("You can leave this view: the import continues while this page is open."))));
    }
    this.drawRefused();
  }

  /** Adds rows for photos that were refused since, and removes those of photos that are not any more; the others stay, and
   *  with them the keyboard's focus. */
  drawRefused() {
    const byCode = new Map();
    for (const item of this.job.of("refused")) byCode.set(item.code, [...(byCode.get(item.code) ?? []), item]);
    for (const code of byCode.keys()) {
      if (this.parts.has(code)) continue;
      const part = this.part(code);
      this.parts.set(code, part);
      this.refused.append(part.node);
    }
    for (const [code, part] of this.parts) part.show(byCode.get(code) ?? []);
  }

  /** The photos that were refused for one reason. */
  part(code) {
    const { job } = this;
    const [title, tools, list, more] = [el("h2"), el("div", { class: "row" }), el("ul", { class: "adding" }), el("div")];
    const node = el("section", { class: "card import-part" }, el("div", { class: "spread" }, title, tools), list, more);
    const rows = new Map();
    let most = SHOWN;
    const show = (items) => {
      node.hidden = !items.length;
      const kept = new Set(items);
      for (const [item, row] of rows) if (!kept.has(item)) row.remove(), rows.delete(item);
      for (const item of items) {
        if (rows.size >= most) break;
        if (rows.has(item)) continue;
        const row = this.row(item);
        rows.set(item, row);
        list.append(row);
      }
      const said = `${TITLES[code] ?? t("Not added")}: ${n(items.length, "{count} photo", "{count} photos")}`;
      if (title.textContent === said) return;
      title.textContent = said;
      const remedy = items.length > 1 && remedyFor(items[0]);
      fill(tools,
        remedy && button(`${remedy[1]} ${number(items.length)}`, () => job.again(items, remedy[2]), { class: "little" }),
        items.length > 1 && button(t("Remove all {count}", { count: items.length }), () => job.leaveOut(items), { class: "little", kind: "danger" }));
      fill(more, rows.size < items.length && button(t("Show {count} more", { count: items.length - rows.size }), () => ((most = Infinity), (title.textContent = ""), this.drawRefused()), { class: "little" }));
    };
    return { node, show };
  }

  row(item) {
    const { job } = this;
    const { path } = item.source;
    const remedy = remedyFor(item);
    const names = item.code === "invalid_name" || item.code === "name_taken";
    return el("li", { class: "refused" },
      this.pictures.of(item.source),
      el("span", { class: "adding-name", title: path }, path),
      el("span", { class: "adding-words" }, `${item.group.name}: ${item.words}`),
      el("span", { class: "row" },
        remedy && button(remedy[0], () => job.again([item], remedy[2]), { class: "little", "aria-label": `${remedy[0]}: ${path}` }),
        item.code === "several_faces" && button(t("Choose the face"), () => this.pick(item), { class: "little", "aria-label": t("Choose the face: {path}", { path }) }),
        names && button(t("Change the name"), () => this.rename(item), { class: "little" }),
        button(t("Remove"), () => job.leaveOut([item]), { class: "little", kind: "danger", "aria-label": t("Remove {name}", { name: path }) })),
      el("span", { class: "adding-mark" }, icon("warning")));
  }

  async pick(item) {
    const picked = await pickFace(item.group.name, () => item.source.open());
    if (picked && item.state === "refused") this.job.again([item], { face: picked.face });
  }

  /** Asks for another name of a person, and sends the photos that were refused because of it again. */
  async rename(item) {
    const { group } = item;
    const name = await dialog(t("Change the name"), (close) => {
      const field = el("input", { id: "name", value: group.name, required: true, maxlength: "200", autocomplete: "off", autofocus: true });
      const form = el("form", { class: "stack" }, el("div", { class: "field" }, el("label", { for: "name" }, t("Name")), field), el("p", { class: "muted" }, item.words),
        el("div", { class: "row end" }, el("button", { type: "submit", class: "button primary" }, t("Add the photos"))));
      form.addEventListener("submit", (event) => (event.preventDefault(), close(field.value.trim())));
      return form;
    });
    if (!name) return;
    group.name = name;
    this.job.again(group.items.filter((each) => each.state === "refused" && each.code === item.code));
  }

  async end() {
    const { left } = this.job.progress;
    if (!(await confirm(t("End the import?"), n(left, "{count} photo will not be added. You can add it later from the list.", "{count} photos will not be added. You can add them later from the list."), t("End the import")))) return;
    if (this.job.state !== "done") this.job.stop();
  }

  save() {
    const url = URL.createObjectURL(new Blob(["\ufeff", this.job.report()], { type: "text/csv" }));
    el("a", { href: url, download: "import.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  async close() {
    const refused = this.job.of("refused").length;
    if (refused && !(await confirm(t("Close the report?"), n(refused, "{count} photo was not added. The files stay where they are, but this list is discarded.", "{count} photos were not added. The files stay where they are, but this list is discarded."), t("Close the report")))) return;
    this.job.discard();
    if (!this.signal.aborted) this.go("people");
  }
}

/** Previews of photos that are opened when they become visible, one at a time. */
class Pictures {
  constructor(signal) {
    this.waiting = [];
    this.busy = false;
    this.wanted = new WeakMap();
    this.sight = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) {
        if (!isIntersecting) continue;
        this.sight.unobserve(target);
        this.waiting.push(target);
      }
      this.work();
    });
    signal.addEventListener("abort", () => ((this.waiting = []), this.sight.disconnect()));
  }

  of(source) {
    const place = el("span", { class: "crop missing" });
    this.wanted.set(place, source);
    this.sight.observe(place);
    return place;
  }

  async work() {
    if (this.busy) return;
    this.busy = true;
    for (let place = this.waiting.shift(); place; place = this.waiting.shift()) {
      if (!place.isConnected) continue;
      const picture = await this.wanted.get(place).open().then(preview, () => null);
      if (picture) place.replaceWith(picture);
    }
    this.busy = false;
  }
}
