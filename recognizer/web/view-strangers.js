// Strangers: people seen by cameras or in uploaded photos who are not enrolled, until they are named or dismissed.

import { announce, button, confirm, copy, dialog, el, empty, fill, icon, toast } from "./dom.js";
import { api, explain, may, told } from "./api.js";
import { decimal, language, mixed, n, t } from "./i18n.js";
import { notifyCard } from "./notify.js";
import { day, exactly, isToday, moment, when } from "./times.js";
import { cameraNames } from "./words.js";

export const title = t("Strangers");

const EVERY = 5000;
const PAGE = 200;
const SHOWN = 4;
const TYPING = 200;

const path = (stranger, what = "") => `/strangers/${encodeURIComponent(stranger.id)}${what}`;

/** "Seen 7 times since Tuesday". */
export function seenWords(stranger) {
  const first = moment(stranger.first_seen);
  if (stranger.sightings === 1) return t("Seen once, {when}", { when: when(first) });
  const since = isToday(first) ? when(first) : day(first);
  if (stranger.sightings === 2) return t("Seen twice since {since}", { since });
  return n(stranger.sightings, "Seen {count} time since {since}", "Seen {count} times since {since}", { since });
}

export async function show(main, { signal, go }) {
  const count = el("p", { class: "number", "aria-live": "polite" }, "\u00a0");
  const fresh = el("div", { class: "row" });
  const nothing = el("div");
  const list = el("ul", { class: "strangers", "aria-label": t("Strangers") });
  const chosen = new Set();
  const bar = el("div", { class: "chosen-bar", role: "region", "aria-label": t("Selected strangers"), hidden: true });
  const cards = new Map();
  let nameOf = cameraNames({ cameras: [] });
  let total = 0;
  let busy = false;

  fill(main, el("div", { class: "view-head" }, el("div", null, el("h1", null, t("Strangers")), count), fresh), nothing, list, !may("admin") && notifyCard({ signal }), bar);

  const at = (stranger) => stranger.cameras.map(nameOf).join(", ");

  async function load(all = true) {
    const found = await api("/strangers", { query: { limit: Math.max(PAGE, cards.size) }, signal });
    total = found.total;
    if (!found.on) return (fill(nothing, off(found.setting)), list.replaceChildren(), cards.clear(), sayCount(true));
    const wanted = new Map(found.strangers.map((each) => [each.id, each]));
    for (const id of [...cards.keys()]) if (!wanted.has(id)) forget(id);
    const added = found.strangers.filter((each) => !cards.has(each.id));
    for (const each of found.strangers) cards.get(each.id)?.tell(each);
    const now = all || !cards.size;
    if (now) {
      for (const each of found.strangers) {
        if (!cards.has(each.id)) cards.set(each.id, new Card(each));
        list.append(cards.get(each.id).node);
      }
    }
    fill(fresh, !now && added.length > 0 && button(t("Show {count} new", { count: added.length }), () => load().catch(tell), { icon: "stranger", kind: "primary" }));
    fill(nothing, !cards.size && empty("stranger", t("No strangers"), t("People seen by a camera who are not enrolled appear here, with pictures, so that you can name them.")));
    sayCount();
  }

  function sayCount(isOff = false) {
    count.textContent = isOff || !total ? "\u00a0" : n(total, "{count} unnamed person", "{count} unnamed people");
    list.hidden = !cards.size;
  }

  function forget(id) {
    cards.get(id)?.node.remove();
    cards.delete(id);
    chosen.delete(id);
    sayChosen();
  }

  /** Runs a change, then reloads the strangers from the server. */
  async function change(work) {
    busy = true;
    try {
      const done = await work();
      await load();
      return done;
    } catch (error) {
      tell(error);
      if (error.code === "stranger_not_found") await load().catch(() => {});
      return undefined;
    } finally {
      busy = false;
    }
  }

  const tell = (error) => error.name === "AbortError" || toast(explain(error), { kind: "bad" });

  // -- selection ------------------------------------------------------------------------------------------------

  function sayChosen() {
    bar.hidden = !chosen.size;
    const many = chosen.size > 1;
    fill(
      bar, el("span", { role: "status" }, many ? n(chosen.size, "{count} selected", "{count} selected") : t("1 selected; select another to merge them")),
      el("div", { class: "row" },
        many && button(t("Merge"), join, { icon: "merge", kind: "primary" }),
        button("", () => dismiss([...chosen].map((id) => cards.get(id).stranger)), { icon: "trash", label: many ? t("Dismiss these people") : t("Dismiss this person") }),
        button("", () => clear(), { icon: "close", kind: "quiet", label: t("Clear selection") })),
    );
    document.body.classList.toggle("choosing", chosen.size > 0);
  }

  function clear() {
    for (const id of [...chosen]) cards.get(id)?.choose(false);
    chosen.clear();
    sayChosen();
  }
  signal.addEventListener("abort", () => document.body.classList.remove("choosing"));

  async function join() {
    const [first, ...others] = [...chosen];
    const done = await change(async () => {
      let joined;
      for (const other of others) joined = await api(`/strangers/${first}/join`, { json: { other } });
      return joined;
    });
    clear();
    if (done) (toast(t("Merged: {seen}", { seen: language === "en" ? seenWords(done).toLowerCase() : seenWords(done) })), cards.get(first)?.focus());
  }

  async function dismiss(those, never = false) {
    const one = those.length === 1;
    const pictures = n(those.reduce((sum, each) => sum + each.pictures.length, 0), "{count} picture", "{count} pictures");
    const text = never
      ? el("div", { class: "stack" },
          el("p", null, `${one ? t("This person will not be shown here again, even if a camera sees them.") : t("These people will not be shown here again, even if a camera sees them.")} ${t("{pictures} and all recorded times and places will be deleted.", { pictures })}`),
          el("p", { class: "notice" }, icon("key"), el("span", null, t("Only face templates are kept (numbers that describe the face), because they are needed to recognise this person. They are deleted when the person has not been seen for the number of days set by RECOGNIZER_STRANGERS_DAYS."))))
      : `${t("{pictures} and all related data will be deleted.", { pictures })} ${one ? t("This person appears here again when next seen.") : t("Each of them appears here again when next seen.")}`;
    const sure = never ? t("Never show again") : one ? t("Dismiss") : t("Dismiss {count}", { count: those.length });
    if (!(await confirm(never ? t("Never show this person again?") : one ? t("Dismiss this person?") : n(those.length, "Dismiss {count} person?", "Dismiss {count} people?"), text, sure))) return false;
    const done = await change(async () => {
      for (const each of those) await api(`${path(each)}${never ? "?never=1" : ""}`, { method: "DELETE" });
      return true;
    });
    if (done) toast(never ? t("This person will not be shown again") : t("Dismissed"));
    return Boolean(done);
  }

  // -- cards ----------------------------------------------------------------------------------------------------

  class Card {
    constructor(stranger) {
      this.box = el("input", { type: "checkbox", class: "pick", on: { change: () => this.choose(this.box.checked, true) } });
      this.pictures = el("div", { class: "stranger-pictures", on: { click: () => openOne(this.stranger) } }); // same as the Details button
      this.closer = button(t("Details"), () => openOne(this.stranger), { class: "little" });
      this.words = el("p", { class: "stranger-words" });
      this.where = el("p", { class: "muted small" });
      this.like = el("p", { class: "stranger-like small" });
      this.node = el(
        "li", { class: "stranger card", data: { stranger: stranger.id } },
        el("label", { class: "pick-label" }, this.box, el("span", { class: "out" }, t("Select this person"))), this.pictures,
        el("div", { class: "stranger-about" }, this.words, this.where, this.like),
        el("div", { class: "row stranger-tools" },
          button(t("Name", { context: "verb" }), () => nameOne(this.stranger), { kind: "primary", class: "little" }),
          this.closer,
          el("a", { class: "button quiet only-icon little", href: `#/archive/stranger/${encodeURIComponent(stranger.id)}`, "aria-label": t("Find in the archive"), title: t("Find in the archive") }, icon("search")),
          button("", () => dismiss([this.stranger]), { icon: "trash", kind: "quiet", class: "little", label: t("Dismiss") })),
      );
      this.tell(stranger);
    }

    tell(stranger) {
      const before = this.stranger;
      this.stranger = stranger;
      this.words.textContent = seenWords(stranger);
      this.words.title = t("From {first} to {last}", { first: exactly(moment(stranger.first_seen)), last: exactly(moment(stranger.last_seen)) });
      const cameras = at(stranger);
      const last = stranger.sightings > 1 && t("last seen {when}", { when: when(moment(stranger.last_seen)) });
      this.where.textContent = [cameras ? t("At {cameras}", { cameras }) : t("In uploaded photos"), last].filter(Boolean).join(t(", "));
      const like = stranger.resembles;
      fill(this.like, like && [icon("face"), el("span", null, mixed("Resembles {name}", { name: el("a", { href: `#/people/${encodeURIComponent(like.subject)}` }, like.subject) }))]);
      const ids = (each) => each?.pictures.map((picture) => picture.id).join();
      if (ids(before) === ids(stranger)) return;
      const [best, ...others] = stranger.pictures;
      fill(
        this.pictures, face(best ?? { url: stranger.thumbnail }, "crop best", t("Best picture")),
        others.length > 0 && el("span", { class: "stranger-others" }, others.slice(0, others.length > SHOWN ? SHOWN - 1 : SHOWN).map((each) => face(each)), others.length > SHOWN && el("span", { class: "crop more" }, `+${others.length - SHOWN + 1}`)),
      );
    }

    choose(on, told = false) {
      this.box.checked = on;
      this.node.classList.toggle("chosen", on);
      if (!told) return;
      if (on) chosen.add(this.stranger.id);
      else chosen.delete(this.stranger.id);
      sayChosen();
    }

    focus() {
      this.closer.focus();
    }
  }

  async function nameOne(stranger) {
    const named = await askName(stranger);
    if (!named) return;
    await change(async () => true);
    const photos = n(named.added, "{count} picture", "{count} pictures");
    announce(t("{subject} is enrolled", { subject: named.subject }));
    toast(named.added ? t("{name} is enrolled with {pictures}", { name: named.subject, pictures: photos }) : t("These pictures of {name} were already enrolled", { name: named.subject }), {
      kind: "good", action: [t("Show"), () => go("people", named.subject)],
    });
  }

  async function openOne(stranger) {
    const picked = new Set();
    let split;
    const saySplit = () => {
      const all = picked.size === stranger.pictures.length;
      split.disabled = !picked.size || all;
      split.lastChild.textContent = picked.size ? n(picked.size, "Split off {count} picture", "Split off {count} pictures") : t("Split off pictures");
      split.title = all ? t("At least one picture must remain") : "";
    };
    const pick = (picture) => {
      const box = el("input", { type: "checkbox", class: "pick", on: { change: () => (box.checked ? picked.add(picture.id) : picked.delete(picture.id), saySplit()) } });
      const words = `${when(moment(picture.time))}${t(", ")}${picture.camera === null ? t("uploaded photo") : nameOf(picture.camera)}`;
      return el("li", null, el("label", { class: "pickable" }, face(picture, "crop", t("Picture taken {when}", { when: words })), box, el("span", { class: "muted small" }, words)));
    };
    const did = await dialog(
      seenWords(stranger),
      () => [
        stranger.resembles && el("p", null, mixed("Resembles {name}", { name: el("a", { href: `#/people/${encodeURIComponent(stranger.resembles.subject)}` }, stranger.resembles.subject) }), " ", el("span", { class: "muted" }, t("(distance {distance}, not close enough for a match)", { distance: decimal(stranger.resembles.distance, 2) }))),
        el("ul", { class: "pick-pictures", "aria-label": t("Pictures. Select those that show somebody else.") }, stranger.pictures.map(pick)),
        stranger.pictures.length > 1 && el("p", { class: "muted small" }, t("The best picture comes first. If a picture shows somebody else, select it and split it off.")),
      ],
      (close) => [
        button(t("Never show again"), () => close("never"), { icon: "mute", kind: "quiet" }),
        button(t("Dismiss"), () => close("dismiss"), { icon: "trash" }),
        stranger.pictures.length > 1 && (split = button(t("Split off pictures"), () => close("split"), { icon: "scissors", disabled: true })),
        button(t("Name", { context: "verb" }), () => close("name"), { kind: "primary", autofocus: true }),
      ],
      { wide: true },
    );
    if (did === "name") return nameOne(stranger);
    if (did === "dismiss" || did === "never") return dismiss([stranger], did === "never");
    if (did !== "split") return undefined;
    const parted = await change(() => api(path(stranger, "/split"), { json: { pictures: [...picked] } }));
    if (parted) toast(n(parted.pictures.length, "Split off {count} picture", "Split off {count} pictures"));
    return undefined;
  }

  // -- start ----------------------------------------------------------------------------------------------------

  const cameras = api("/cameras", { signal }).then((found) => (nameOf = cameraNames(found)), () => {});
  await cameras;
  await load();
  const timer = setInterval(() => document.hidden || busy || document.querySelector("dialog[open]") || load(false).catch(() => {}), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function face(picture, kind = "crop", alt = "") {
  return el("img", { class: kind, src: picture.url, alt, loading: "lazy" });
}

function off(setting) {
  const line = `${setting}=cameras`;
  return el(
    "div", { class: "empty strangers-off" }, icon("stranger"), el("h2", null, t("Strangers are switched off")),
    el("p", null, t("When switched on, this page collects the faces of people who are seen by cameras and are not enrolled, grouped by person, so that you can name them.")),
    el("p", null, t("It is off by default because it stores pictures and templates of people who never agreed to it. In many countries the law requires a legal basis and a sign at the entrance.")),
    el("div", { class: "code" }, el("pre", { tabindex: "0" }, line), button("", () => copy(line), { icon: "copy", kind: "quiet", label: t("Copy") })),
    el("p", { class: "muted small" }, t("Add this to the server's settings, then restart the server. The value “all” also collects faces from uploaded photos. People who are not seen again are deleted after the number of days set by RECOGNIZER_STRANGERS_DAYS.")),
  );
}

/** Asks for a name and enrols the stranger; resolves with {subject, added}, or undefined. */
async function askName(stranger) {
  const like = stranger.resembles?.subject;
  const field = el("input", { id: "stranger-name", autocomplete: "off", spellcheck: "false", maxlength: "200", required: true, list: "stranger-names", autofocus: true, "aria-describedby": "stranger-name-error" });
  const known = el("datalist", { id: "stranger-names" });
  const problem = el("div", { id: "stranger-name-error", role: "alert" });
  let save;
  let typing;
  field.addEventListener("input", () => {
    save.disabled = !field.value.trim();
    clearTimeout(typing);
    typing = setTimeout(async () => {
      const search = field.value.trim();
      const found = search ? await api("/people", { query: { search, limit: 12 } }).catch(() => null) : null;
      if (found) fill(known, found.people.map((each) => el("option", { value: each.name })));
    }, TYPING);
  });
  const send = async (close, subject = field.value.trim(), force = false) => {
    if (!subject) return;
    field.value = subject;
    problem.replaceChildren();
    save.disabled = true;
    try {
      const done = await api(path(stranger, "/name"), { json: force ? { subject, force } : { subject } });
      close({ subject: done.subject, added: done.added });
    } catch (error) {
      fill(problem, refusal(error, close, subject));
    } finally {
      save.disabled = false;
    }
  };
  const refusal = (error, close, subject) => {
    if (error.code === "looks_like_another") {
      const other = error.details.subject;
      return el("div", { class: "notice warn" }, icon("warning"), el("span", null, t("This face looks like {subject}, who is already enrolled.", { subject: other })),
        el("span", { class: "row" }, button(t("It is {name}", { name: other }), () => send(close, other), { class: "little" }), button(t("Enrol as {name} anyway", { name: subject }), () => send(close, subject, true), { class: "little" })));
    }
    const reasons = [...new Set((error.details?.photos ?? []).map((each) => each.error && told(each.error)).filter(Boolean))];
    return [el("p", { class: "field-error" }, explain(error)), reasons.length > 0 && el("ul", { class: "small muted" }, reasons.map((each) => el("li", null, each)))];
  };
  return dialog(
    t("Who is this?"),
    (close) => {
      const form = el(
        "form", { class: "stack", novalidate: true },
        el("div", { class: "name-pictures" }, stranger.pictures.slice(0, 5).map((each) => face(each))),
        like && el("div", { class: "row" }, el("span", { class: "muted" }, t("Suggestion:")), button(like, () => send(close, like), { icon: "face", class: "little" })),
        el("div", { class: "field" }, el("label", { for: "stranger-name" }, t("Name")), field, known, el("p", { class: "muted small" }, t("A new name enrols a new person. With an existing name, the pictures are added to that person.")), problem),
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), send(close)));
      return form;
    },
    (close) => [button(t("Cancel"), () => close()), (save = button(t("Enrol"), () => send(close), { kind: "primary", disabled: true }))],
  );
}
