// Strangers: people whom cameras and requests showed and nobody enrolled, until somebody says who they are.

import { announce, button, confirm, copy, dialog, el, empty, fill, icon, plural, toast } from "./dom.js";
import { api, explain } from "./api.js";
import { day, exactly, moment, when } from "./times.js";

export const title = "Strangers";

const EVERY = 5000;
const PAGE = 200;
const SHOWN = 4;
const TYPING = 200;

const path = (stranger, what = "") => `/strangers/${encodeURIComponent(stranger.id)}${what}`;
const seen = (stranger) => `Seen ${stranger.sightings === 1 ? "once" : stranger.sightings === 2 ? "twice" : `${stranger.sightings.toLocaleString("en")} times`}`;

/** "Seen 7 times since Tuesday". */
export function seenWords(stranger) {
  const first = moment(stranger.first_seen);
  const from = day(first);
  if (stranger.sightings === 1) return `Seen once, ${when(first)}`;
  return `${seen(stranger)} since ${from === "today" ? when(first) : from}`;
}

export async function show(main, { signal, go }) {
  const count = el("p", { class: "number", "aria-live": "polite" }, "\u00a0");
  const fresh = el("div", { class: "row" });
  const nothing = el("div");
  const list = el("ul", { class: "strangers", "aria-label": "Strangers" });
  const chosen = new Set();
  const bar = el("div", { class: "chosen-bar", role: "region", "aria-label": "What to do with the chosen", hidden: true });
  const cards = new Map();
  let names = {};
  let total = 0;
  let busy = false;

  fill(main, el("div", { class: "view-head" }, el("div", null, el("h1", null, "Strangers"), count), fresh), nothing, list, bar);

  const at = (stranger) => stranger.cameras.map((id) => names[id] ?? id).join(", ");

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
    fill(fresh, !now && added.length > 0 && button(`Show ${added.length} new`, () => load().catch(tell), { icon: "stranger", kind: "primary" }));
    fill(nothing, !cards.size && empty("stranger", "Nobody unknown came", "Whoever a camera sees and nobody enrolled appears here, with pictures, so that you can say who it is."));
    sayCount();
  }

  function sayCount(isOff = false) {
    count.textContent = isOff || !total ? "\u00a0" : `${plural(total, "person", "people")} without a name`;
    list.hidden = !cards.size;
  }

  function forget(id) {
    cards.get(id)?.node.remove();
    cards.delete(id);
    chosen.delete(id);
    sayChosen();
  }

  /** Do something to strangers, then show what the server holds. */
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

  // -- several at once ------------------------------------------------------------------------------------------

  function sayChosen() {
    bar.hidden = !chosen.size;
    const many = chosen.size > 1;
    fill(
      bar, el("span", { role: "status" }, many ? `${chosen.size} chosen` : "1 chosen; choose another to join them"),
      el("div", { class: "row" },
        many && button("One person", join, { icon: "merge", kind: "primary" }),
        button("", () => dismiss([...chosen].map((id) => cards.get(id).stranger)), { icon: "trash", label: `Dismiss ${many ? "them" : "this person"}` }),
        button("", () => clear(), { icon: "close", kind: "quiet", label: "Choose none" })),
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
    if (done) (toast(`Joined: ${seenWords(done).toLowerCase()}`), cards.get(first)?.focus());
  }

  async function dismiss(those, never = false) {
    const one = those.length === 1;
    const pictures = plural(those.reduce((sum, each) => sum + each.pictures.length, 0), "picture");
    const text = never
      ? el("div", { class: "stack" },
          el("p", null, `${one ? "This person does" : "They do"} not appear here again, however often a camera sees them. The ${pictures}, the times and the places are erased.`),
          el("p", { class: "notice" }, icon("key"), el("span", null, "What stays is templates: numbers that describe the face, without which they could not be told from others. They go too once this person was not seen for as many days as RECOGNIZER_STRANGERS_DAYS says.")))
      : `The ${pictures} and what belongs to them are erased. If they come again, they appear here again.`;
    const sure = never ? "Never ask again" : one ? "Dismiss" : `Dismiss ${those.length}`;
    if (!(await confirm(never ? "Never ask about this person again?" : one ? "Dismiss this person?" : `Dismiss ${those.length} people?`, text, sure))) return false;
    const done = await change(async () => {
      for (const each of those) await api(`${path(each)}${never ? "?never=1" : ""}`, { method: "DELETE" });
      return true;
    });
    if (done) toast(never ? "You are not asked about them again" : "Dismissed");
    return Boolean(done);
  }

  // -- one ------------------------------------------------------------------------------------------------------

  class Card {
    constructor(stranger) {
      this.box = el("input", { type: "checkbox", class: "pick", on: { change: () => this.choose(this.box.checked, true) } });
      this.pictures = el("div", { class: "stranger-pictures", on: { click: () => openOne(this.stranger) } }); // as the button below
      this.closer = button("Look closer", () => openOne(this.stranger), { class: "little" });
      this.words = el("p", { class: "stranger-words" });
      this.where = el("p", { class: "muted small" });
      this.like = el("p", { class: "stranger-like small" });
      this.node = el(
        "li", { class: "stranger card", data: { stranger: stranger.id } },
        el("label", { class: "pick-label" }, this.box, el("span", { class: "out" }, "Choose this person")), this.pictures,
        el("div", { class: "stranger-about" }, this.words, this.where, this.like),
        el("div", { class: "row stranger-tools" },
          button("Name", () => nameOne(this.stranger), { kind: "primary", class: "little" }),
          this.closer,
          button("", () => dismiss([this.stranger]), { icon: "trash", kind: "quiet", class: "little", label: "Dismiss" })),
      );
      this.tell(stranger);
    }

    tell(stranger) {
      const before = this.stranger;
      this.stranger = stranger;
      this.words.textContent = seenWords(stranger);
      this.words.title = `From ${exactly(moment(stranger.first_seen))} to ${exactly(moment(stranger.last_seen))}`;
      const cameras = at(stranger);
      this.where.textContent = `${cameras ? `At ${cameras}, last ` : "Last "}${when(moment(stranger.last_seen))}`;
      const like = stranger.resembles;
      fill(this.like, like && [icon("face"), el("span", null, "Resembles ", el("a", { href: `#/people/${encodeURIComponent(like.subject)}` }, like.subject))]);
      const ids = (each) => each?.pictures.map((picture) => picture.id).join();
      if (ids(before) === ids(stranger)) return;
      const [best, ...others] = stranger.pictures;
      fill(
        this.pictures, face(best ?? { url: stranger.thumbnail }, "crop best", "Their best picture"),
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
    const photos = plural(named.added, "picture");
    announce(`${named.subject} is enrolled`);
    toast(named.added ? `${named.subject} is enrolled with ${photos}` : `${named.subject} was enrolled with these pictures already`, {
      kind: "good", action: ["Show", () => go("people", named.subject)],
    });
  }

  async function openOne(stranger) {
    const picked = new Set();
    let split;
    const saySplit = () => {
      const all = picked.size === stranger.pictures.length;
      split.disabled = !picked.size || all;
      split.lastChild.textContent = picked.size ? `${plural(picked.size, "picture")} of somebody else` : "Somebody else among them";
      split.title = all ? "At least one picture has to stay" : "";
    };
    const pick = (picture) => {
      const box = el("input", { type: "checkbox", class: "pick", on: { change: () => (box.checked ? picked.add(picture.id) : picked.delete(picture.id), saySplit()) } });
      const words = `${when(moment(picture.time))}, ${picture.camera === null ? "in a photo" : (names[picture.camera] ?? picture.camera)}`;
      return el("li", null, el("label", { class: "pickable" }, face(picture, "crop", `Picture of ${words}`), box, el("span", { class: "muted small" }, words)));
    };
    const did = await dialog(
      seenWords(stranger),
      () => [
        stranger.resembles && el("p", null, "Resembles ", el("a", { href: `#/people/${encodeURIComponent(stranger.resembles.subject)}` }, stranger.resembles.subject), el("span", { class: "muted" }, `, at a distance of ${stranger.resembles.distance.toFixed(2)}. It is not near enough to be taken for them.`)),
        el("ul", { class: "pick-pictures", "aria-label": "Pictures; choose those that show somebody else" }, stranger.pictures.map(pick)),
        el("p", { class: "muted small" }, "The best picture comes first. Does one show somebody else? Choose it, then part it from the others."),
      ],
      (close) => [
        button("Never ask again", () => close("never"), { icon: "mute", kind: "quiet" }),
        button("Dismiss", () => close("dismiss"), { icon: "trash" }),
        stranger.pictures.length > 1 && (split = button("Somebody else among them", () => close("split"), { icon: "scissors", disabled: true })),
        button("Name", () => close("name"), { kind: "primary", autofocus: true }),
      ],
      { wide: true },
    );
    if (did === "name") return nameOne(stranger);
    if (did === "dismiss" || did === "never") return dismiss([stranger], did === "never");
    if (did !== "split") return undefined;
    const parted = await change(() => api(path(stranger, "/split"), { json: { pictures: [...picked] } }));
    if (parted) toast(`${plural(parted.pictures.length, "picture")} stand on their own now`);
    return undefined;
  }

  // -- beginning ------------------------------------------------------------------------------------------------

  const cameras = api("/cameras", { signal }).then((found) => (names = Object.fromEntries(found.cameras.map((each) => [each.id, each.name]))), () => {});
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
    "div", { class: "empty strangers-off" }, icon("stranger"), el("h2", null, "Strangers are not kept"),
    el("p", null, "Switched on, this page gathers the faces that cameras see and nobody enrolled, grouped by person, so that you can say who they are."),
    el("p", null, "It is off because it keeps pictures and templates of people who never agreed to that. In many places the law asks for a ground for it first, and for a sign that says so at the door."),
    el("div", { class: "code" }, el("pre", { tabindex: "0" }, line), button("", () => copy(line), { icon: "copy", kind: "quiet", label: "Copy" })),
    el("p", { class: "muted small" }, "Whoever runs the server can set it, then start the server again. The value “all” gathers faces of photos sent to it as well. Whoever is not seen again is forgotten after RECOGNIZER_STRANGERS_DAYS."),
  );
}

/** Ask who it is, and enrol them; resolves with {subject, added}, or undefined. */
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
      return el("div", { class: "notice warn" }, icon("warning"), el("span", null, `This face looks like ${other}, who is enrolled.`),
        el("span", { class: "row" }, button(`It is ${other}`, () => send(close, other), { class: "little" }), button(`It is ${subject} all the same`, () => send(close, subject, true), { class: "little" })));
    }
    const reasons = [...new Set((error.details?.photos ?? []).map((each) => each.error?.message).filter(Boolean))];
    return [el("p", { class: "field-error" }, explain(error)), reasons.length > 0 && el("ul", { class: "small muted" }, reasons.map((each) => el("li", null, each)))];
  };
  return dialog(
    "Who is it?",
    (close) => {
      const form = el(
        "form", { class: "stack", novalidate: true },
        el("div", { class: "name-pictures" }, stranger.pictures.slice(0, 5).map((each) => face(each))),
        like && el("div", { class: "row" }, el("span", { class: "muted" }, "Perhaps"), button(like, () => send(close, like), { icon: "face", class: "little" })),
        el("div", { class: "field" }, el("label", { for: "stranger-name" }, "Name"), field, known, el("p", { class: "muted small" }, "A new name enrols somebody; one that is there gets these pictures as well."), problem),
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), send(close)));
      return form;
    },
    (close) => [button("Cancel", () => close()), (save = button("Enrol", () => send(close), { kind: "primary", disabled: true }))],
  );
}
