// The archive: folders of photos, search by face, and groups of faces with their names.

import { announce, button, confirm, dialog, el, empty, fill, icon, toast } from "./dom.js";
import { api, explain, link, may } from "./api.js";
import { edges, takeOver } from "./archive-search.js";
import { decimal, mixed, n, number, t } from "./i18n.js";
import { choose, takesPhotos } from "./photos.js";
import { thumbnail } from "./stage.js";

export const title = t("Archive");

const EVERY = 1500;
const PAGE = 60;
const PEOPLE = 48;

export async function show(main, context) {
  const view = new Archive(main, context);
  await view.begin();
}

class Archive {
  constructor(main, { parts, signal, go, again }) {
    Object.assign(this, { main, parts, signal, go, again });
    this.count = el("p", { class: "number", "aria-live": "polite" }, "\u00a0");
    this.tools = el("div", { class: "row" });
    this.progress = el("div", { class: "archive-progress" });
    this.body = el("div", { class: "stack" });
  }

  async begin() {
    const handed = this.parts[0] === "face" ? takeOver() : null;
    fill(this.main, el("div", { class: "view-head" }, el("div", null, el("h1", null, t("Archive")), this.count), this.tools), this.progress, this.body);
    takesPhotos(this.main, (files) => this.find({ photo: files[0] }), this.signal);
    const { folders } = await this.state();
    if (!folders.length) return fill(this.body, this.nothing());
    this.form = this.searchForm();
    this.results = el("section", { "aria-label": t("Photos found") });
    this.people = el("section", { class: "stack", "aria-label": t("People") });
    fill(this.body, this.form, this.results, this.people);
    const [what, value] = this.parts;
    if (handed) await this.find({ photo: handed.photo, box: edges(handed.box) });
    else if (["person", "group", "stranger"].includes(what) && value) await this.find({ [{ person: "subject", group: "group_id" }[what] ?? what]: value });
    else await this.showPeople();
  }

  told = (work) => async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      if (!this.signal.aborted) toast(explain(error), { kind: "bad" });
      return undefined;
    }
  };

  // -- folders and updates --------------------------------------------------------------------------------------

  async state() {
    const found = await api("/archive", { signal: this.signal });
    const { status, folders } = found;
    this.addable = found.addable;
    this.count.textContent = status?.photos ? [n(status.photos - status.videos, "{count} photo", "{count} photos"), status.videos && n(status.videos, "{count} video", "{count} videos"), n(status.faces, "{count} face", "{count} faces"), n(status.people, "{count} person", "{count} people")].filter(Boolean).join(t(", ")) : "\u00a0";
    const running = status?.update;
    fill(
      this.tools,
      may("write") && folders.length > 0 && button(t("Update"), this.told(() => this.update()), { icon: "bolt", disabled: Boolean(running) }),
      folders.length > 0 && button(t("Folders"), () => this.showFolders(folders, status), { icon: "image" }),
      may("write") && folders.length > 0 && button(t("Undo"), this.told(() => this.undo()), { icon: "back" }),
    );
    const away = folders.filter((each) => !["present", "new"].includes(each.state));
    fill(
      this.progress,
      running && this.bar(running),
      away.map((each) => el("p", { class: "notice" }, icon("warning"), el("span", null, t("{name} is not there ({state}). What is known of its photos is kept.", { name: each.name, state: STATES[each.state] ?? each.state })))),
    );
    if (running) this.later();
    else if (this.wasRunning) {
      announce(t("The archive is up to date"));
      this.wasRunning = false;
      if (!this.form) return this.again(), found;
      if (!this.searched) await this.showPeople();
    }
    this.wasRunning = Boolean(running);
    return found;
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => !this.signal.aborted && this.state().catch(() => this.later()), EVERY);
    this.signal.addEventListener("abort", () => clearTimeout(this.timer), { once: true });
  }

  bar({ stage, done, total, share, per_second: rate, seconds_left: left }) {
    const within = share == null ? "" : ` (+ ${number(share, { style: "percent" })})`;
    const words = (stage === "photos" ? t("Reading photos: {done} of {total}", { done, total }) : t("Looking for photos")) + within;
    const rest = rate && left ? `, ${t("{rate} per second, {left} left", { rate: number(rate, { maximumFractionDigits: 1 }), left: minutes(left) })}` : "";
    return el("div", { class: "stack", role: "status" }, el("p", null, words + rest), el("progress", { max: total || 1, value: done + (share ?? 0), "aria-label": words }));
  }

  async update() {
    await api("/archive/update", { method: "POST" });
    this.wasRunning = true;
    await this.state();
  }

  async undo() {
    const { undone } = await api("/archive/undo", { method: "POST" });
    toast(t("Undone: {what}", { what: DECISIONS[undone] ?? undone }));
    await this.showPeople();
  }

  nothing() {
    const add = this.addable && may("admin") && button(t("Add a folder"), () => this.addFolder(), { icon: "add", kind: "primary" });
    return empty("image", t("No photos in the archive"), mixed("Add a folder with {command} on the server; its photos are only read. Then find everything that shows somebody.", { command: el("code", null, "recognizer archive add DIR") }), add);
  }

  addFolder() {
    const path = el("input", { id: "archive-path", required: true, spellcheck: "false" });
    return dialog(
      t("Add a folder"),
      () => el("form", { class: "stack", id: "archive-add", on: { submit: (event) => event.preventDefault() } },
        el("label", { for: "archive-path" }, t("Folder on the server")), path,
        el("p", { class: "muted small" }, t("In the folder that RECOGNIZER_ARCHIVE_FILES names. The photos are only read."))),
      (close) => [
        button(t("Cancel"), () => close(false)),
        button(t("Add"), this.told(async () => {
          await api("/archive/folders", { json: { folder: path.value } });
          close(true);
          this.again();
        }), { kind: "primary" }),
      ],
    );
  }

  showFolders(folders, status) {
    const remove = async (each) => {
      if (!(await confirm(t("Remove this folder from the archive?"), t("What is known of the photos in {name} will be deleted. The photos themselves stay.", { name: each.name }), t("Remove")))) return;
      await api(`/archive/folders/${each.id}`, { method: "DELETE" });
      this.again();
    };
    return dialog(t("Folders"), (close) => el(
      "div", { class: "stack" },
      el("ul", { class: "archive-folders" }, folders.map((each) => el(
        "li", { class: "row" }, el("span", null, each.name), el("span", { class: "muted" }, STATES[each.state] ?? each.state),
        may("admin") && button("", this.told(async () => (close(), remove(each))), { icon: "trash", kind: "quiet", label: t("Remove {name}", { name: each.name }) })))),
      status?.problems > 0 && el("p", { class: "muted" }, n(status.problems, "{count} file cannot be used; {command} says why.", "{count} files cannot be used; {command} says why.", { command: "recognizer archive list" })),
      this.addable && may("admin") && button(t("Add a folder"), () => (close(), this.addFolder()), { icon: "add" }),
    ));
  }

  // -- search ---------------------------------------------------------------------------------------------------

  searchForm() {
    const name = el("input", { id: "archive-name", list: "archive-names", autocomplete: "off", placeholder: t("Name") });
    const names = el("datalist", { id: "archive-names" });
    this.since = el("input", { type: "date", id: "archive-since" });
    this.until = el("input", { type: "date", id: "archive-until" });
    api("/people", { query: { limit: 1000 }, signal: this.signal }).then((found) => fill(names, found.people.map((each) => el("option", { value: each.name })))).catch(() => {});
    const search = this.told(() => (name.value.trim() ? this.find({ subject: name.value.trim() }) : this.last && this.find(this.last)));
    return el(
      "form", { class: "archive-form card", role: "search", on: { submit: (event) => (event.preventDefault(), search()) } },
      el("label", { for: "archive-name" }, t("Find")), name, names,
      el("label", { for: "archive-since" }, t("from")), this.since, el("label", { for: "archive-until" }, t("to")), this.until,
      el("button", { type: "submit", class: "button primary" }, icon("search"), el("span", null, t("Search"))),
      button(t("By photo"), () => choose((files) => this.find({ photo: files[0] })), { icon: "face" }),
    );
  }

  /** Searches; `who` has one of photo (with box), subject, group_id and stranger. */
  find = this.told(async (who, cursor = null) => {
    this.last = who;
    this.searched = true;
    const { photo, ...rest } = who;
    const query = { ...rest, since: this.since.value, until: this.until.value, limit: PAGE, cursor };
    const found = photo ? await api("/archive/search", { query, body: photo, signal: this.signal })
      : await api("/archive/search", { json: given(query), signal: this.signal });
    const name = who.subject ?? (photo ? t("this face") : who.group_id ? t("group {id}", { id: String(who.group_id) }) : t("this stranger"));
    const more = found.cursor && button(t("Show more"), () => this.find(who, found.cursor), { class: "more-button" });
    const cards = found.faces.map((each) => this.card(each));
    if (cursor) {
      this.list.append(...cards);
      return void this.foot.replaceChildren(...[more].filter(Boolean));
    }
    this.list = el("ul", { class: "archive-grid" }, cards);
    this.foot = el("div", { class: "row" }, more);
    fill(
      this.results,
      el("div", { class: "view-head" },
        el("h2", { tabindex: "-1" }, found.total ? n(found.total, "{count} picture of {name}", "{count} pictures of {name}", { name }) : t("No picture of {name}", { name })),
        button(t("All people"), this.told(() => this.showPeople()), { icon: "people" })),
      this.list, this.foot,
    );
    fill(this.people);
    announce(found.total ? n(found.total, "{count} picture found", "{count} pictures found") : t("Nothing found"));
  });

  card(face) {
    const file = face.files[0]?.split("/").pop() ?? t("not there");
    const clock = face.time_s === null ? null : position(face.time_s);
    const words = [face.subject ?? (face.group_id ? t("Group {id}", { id: String(face.group_id) }) : null), face.taken?.slice(0, 10), clock].filter(Boolean).join(", ");
    return el(
      "li", { class: "archive-face" },
      el("button", { type: "button", class: "archive-open", title: face.files.join("\n"), on: { click: () => this.open(face) } },
        thumbnail(link(face.thumbnail), t("{face} on {file}", { face: words || t("A face"), file }))),
      el("span", { class: "small" }, words || file),
    );
  }

  open(face) {
    return dialog(face.subject ?? t("Photo"), (close) => el(
      "div", { class: "stack" },
      el("img", { class: "archive-photo", src: link(`/archive/photos/${face.photo}${face.time_s === null ? "" : `?time_s=${face.time_s}`}`), alt: face.files[0] ?? "" }),
      el("p", { class: "small" }, face.files.join(", ") || t("The file is not there at the moment.")),
      el("p", { class: "muted small" }, [face.taken?.replace("T", " "), face.time_s !== null && t("at {time} of the video", { time: position(face.time_s) }), t("distance {distance}", { distance: decimal(face.distance, 2) })].filter(Boolean).join(", ")),
      el("div", { class: "row" },
        face.group_id && button(t("All of this person"), () => (close(), this.find({ group_id: face.group_id })), { icon: "search" }),
        may("write") && button(t("Not this person"), this.told(async () => {
          await api("/archive/move", { json: { faces: [`${face.photo}/${face.number}`] } });
          close();
          await this.find(this.last);
        }), { icon: "scissors" }),
        may("write") && button(t("Not a face"), this.told(async () => {
          await api(`/archive/photos/${face.photo}/faces/${face.number}`, { method: "PATCH", json: { no_face: true } });
          close();
          await this.find(this.last);
        }), { icon: "trash" })),
    ), null, { wide: true });
  }

  // -- people ---------------------------------------------------------------------------------------------------

  async showPeople(offset = 0) {
    this.searched = false;
    fill(this.results);
    const [suggested, hidden, found] = await Promise.all([
      offset ? { people: [] } : api("/archive/people", { query: { suggested: true, limit: 24 }, signal: this.signal }),
      offset ? { people: [] } : api("/archive/people", { query: { hidden: true, limit: PEOPLE }, signal: this.signal }),
      api("/archive/people", { query: { suggested: false, offset, limit: PEOPLE }, signal: this.signal }),
    ]);
    const next = offset + found.people.length;
    const cards = found.people.map((each) => this.person(each));
    const more = next < found.total && button(t("Show more"), this.told(() => this.showPeople(next)), {});
    if (offset) {
      this.list.append(...cards);
      return void this.foot.replaceChildren(...[more].filter(Boolean));
    }
    this.list = el("ul", { class: "strangers", "aria-label": t("People of the archive") }, cards);
    this.foot = el("div", { class: "row" }, more);
    fill(
      this.people,
      suggested.people.length > 0 && [
        el("h2", null, t("Is this right?")),
        el("ul", { class: "strangers", "aria-label": t("Suggestions") }, suggested.people.map((each) => this.person(each))),
      ],
      el("h2", null, t("People")), found.total ? [this.list, this.foot] : el("p", { class: "muted" }, t("No faces are grouped yet.")),
      hidden.total > 0 && may("write") && el("div", { class: "row" }, button(t("Hidden people"), () => this.showHidden(hidden.people), { icon: "mute" })),
    );
  }

  showHidden(people) {
    return dialog(t("Hidden people"), () => el("ul", { class: "archive-grid" }, people.map((each) => {
      const label = each.subject ?? t("Group {id}", { id: String(each.id) });
      return el(
        "li", { class: "archive-face" }, thumbnail(link(each.pictures[0]?.thumbnail ?? ""), label), el("span", { class: "small" }, label),
        button(t("Show again"), this.told(async (event) => {
          await api(`/archive/people/${each.id}`, { method: "PATCH", json: { hidden: false } });
          event.target.closest("li")?.remove();
          await this.showPeople();
        }), { class: "little" }));
    })));
  }

  person(each) {
    const change = (what, json) => this.told(async () => {
      await api(`/archive/people/${each.id}${what}`, { method: "POST", json });
      await this.showPeople();
    });
    const label = each.subject ?? (each.likely ? `${each.likely}?` : t("Group {id}", { id: String(each.id) }));
    return el(
      "li", { class: "stranger card", data: { group: each.id } },
      el("div", { class: "archive-pictures" }, each.pictures.map((picture) => thumbnail(link(picture.thumbnail), label))),
      el("div", { class: "stranger-about" },
        el("p", { class: "stranger-words" }, label),
        el("p", { class: "muted small" }, [n(each.faces, "{count} picture", "{count} pictures"), each.subject && !each.decided && t("recognised")].filter(Boolean).join(t(", ")))),
      el("div", { class: "row stranger-tools" },
        each.likely && may("write") && button(t("Yes"), change("/accept", {}), { icon: "check", kind: "primary", class: "little", label: t("Yes, {name}", { name: each.likely }) }),
        each.likely && may("write") && button(t("No"), change("/refuse", {}), { icon: "close", class: "little", label: t("No, not {name}", { name: each.likely }) }),
        button(t("Show"), () => this.find({ group_id: each.id }), { class: "little" }),
        may("write") && button(t("Name", { context: "verb" }), () => this.name(each), { class: "little", icon: "edit" }),
        may("write") && button("", this.told(async () => {
          await api(`/archive/people/${each.id}`, { method: "PATCH", json: { hidden: true } });
          toast(t("Hidden"));
          await this.showPeople();
        }), { icon: "mute", kind: "quiet", class: "little", label: t("Hide {name}", { name: label }) })),
    );
  }

  /** Names a group, merges it with those of the same name if wanted, or enrols it. */
  name(group) {
    const name = el("input", { id: "group-name", value: group.subject ?? group.likely ?? "", list: "archive-names", autocomplete: "off" });
    const save = (close, enrol) => this.told(async () => {
      const subject = name.value.trim();
      if (enrol) await api(`/archive/people/${group.id}/enroll`, { json: { subject } });
      else await api(`/archive/people/${group.id}`, { method: "PATCH", json: subject ? { subject } : { unnamed: true } });
      close(true);
      toast(enrol ? t("{subject} is enrolled", { subject }) : subject ? t("Named {subject}", { subject }) : t("The name is gone"));
      await this.showPeople();
    });
    const others = async () => (await api("/archive/people", { query: { limit: 24 } })).people.filter((each) => each.id !== group.id);
    return dialog(
      t("Who is this?"),
      (close) => el("div", { class: "stack" },
        el("div", { class: "archive-pictures" }, group.pictures.map((picture) => thumbnail(link(picture.thumbnail), ""))),
        el("label", { for: "group-name" }, t("Name")), name,
        button(t("Same as another group"), this.told(async () => {
          close();
          await this.merge(group, await others());
        }), { icon: "merge" })),
      (close) => [
        button(t("Cancel"), () => close(false)),
        button(t("Enrol"), save(close, true), { icon: "add" }),
        button(t("Save name"), save(close, false), { kind: "primary" }),
      ],
    );
  }

  merge(group, others) {
    return dialog(t("Same as which group?"), (close) => el("ul", { class: "archive-grid" }, others.map((each) => el(
      "li", { class: "archive-face" },
      el("button", { type: "button", class: "archive-open", on: { click: this.told(async () => {
        await api(`/archive/people/${each.id}/join`, { json: { other_group_id: group.id } });
        close();
        toast(t("Merged"));
        await this.showPeople();
      }) } }, thumbnail(link(each.pictures[0]?.thumbnail ?? ""), each.subject ?? t("Group {id}", { id: String(each.id) }))),
      el("span", { class: "small" }, each.subject ?? t("Group {id}", { id: String(each.id) })),
      button(t("Somebody else"), this.told(async (event) => {
        await api(`/archive/people/${group.id}/apart`, { json: { other_group_id: each.id } });
        event.target.closest("li")?.remove();
        toast(t("They are never merged"));
      }), { class: "little" })))));
  }
}

/** Why a folder of the archive cannot be read. */
const STATES = { present: t("present"), new: t("not read yet"), missing: t("missing"), unreadable: t("unreadable"), empty: t("empty") };

const DECISIONS = {
  name: t("the name"), refuse: t("the refusal"), hide: t("hiding"), join: t("the merge"), move: t("the move"), apart: t("“somebody else”"), no_face: t("“not a face”"),
};

/** The fields that have a value. */
const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== ""));

/** A position in a video as hours, minutes and seconds. */
const position = (seconds) => [3600, 60, 1].map((unit, at) => String(Math.floor(seconds / unit) % (at ? 60 : 1e6)).padStart(at ? 2 : 1, "0")).join(":");

const minutes = (seconds) =>
  seconds < 90
    ? n(seconds, "{count} second", "{count} seconds")
    : seconds < 5400
      ? n(Math.round(seconds / 60), "{count} minute", "{count} minutes")
      : n(Math.round(seconds / 3600), "{count} hour", "{count} hours");
