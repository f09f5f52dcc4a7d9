// One person: all photos, their quality, and the actions on the person and on each photo.

import { button, confirm, dialog, el, empty, fill, icon, toast } from "./dom.js";
import { api, ApiError, explain, may, personPath, sentence, told as saidOf } from "./api.js";
import { aboutPerson } from "./about-person.js";
import { askHow, daysInBin, sayDeleted } from "./bin.js";
import { enrol } from "./enrol.js";
import { decimal, n, t } from "./i18n.js";
import { showPresence } from "./presence.js";
import { takesPhotos } from "./photos.js";
import { pickFace } from "./pick.js";
import { Stage, thumbnail } from "./stage.js";
import { exactly, moment } from "./times.js";
import { bytes, REMARKS, warning } from "./words.js";

const AT_ONCE = 2;

export async function showPerson(main, { signal, go, again }, name) {
  let person;
  let binDays;
  try {
    [person, binDays] = await Promise.all([api(personPath(name), { signal }), daysInBin(signal)]);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "subject_not_found") throw error;
    const back = el("a", { class: "button primary", href: "#/people" }, t("All people"));
    return void fill(main, el("h1", { class: "out" }, name), empty("people", t("Person not found"), t("This person may have been renamed or deleted."), back));
  }
  document.title = `${person.name} · Recognizer`;
  const told = (work) => async (...given) => {
    try {
      await work(...given);
    } catch (error) {
      if (!signal.aborted) toast(explain(error), { kind: "bad" });
    }
  };
  const odd = person.photos.filter((photo) => photo.warnings?.length).length;
  const usable = person.photos.filter((photo) => !photo.problem);
  const qualities = new Qualities(signal);
  const here = { person, signal, go, again, told, qualities, binDays, chosen: new Set() };
  const address = location.hash;
  const shownAgain = () => location.hash === address && again();
  const add = async (files = []) => (await enrol({ subject: person.name, files, later: shownAgain })) && shownAgain();
  takesPhotos(main, add, signal);
  fill(
    main,
    el("a", { class: "back", href: "#/people" }, icon("back"), t("People")),
    el(
      "div", { class: "view-head" },
      el("div", null, el("h1", null, person.name),
        el("p", { class: "number" }, [
          n(person.photos.length, "{count} photo", "{count} photos"), odd && n(odd, "{count} needs attention", "{count} need attention"),
          person.problems && n(person.problems, "{count} not used", "{count} not used"),
        ].filter(Boolean).join(t(", ")))),
      el(
        "div", { class: "row" },
        el("a", { class: "button", href: `#/archive/person/${encodeURIComponent(person.name)}` }, icon("search"), el("span", null, t("Find in the archive"))),
        button(t("Presence"), () => showPresence(person.name), { icon: "live" }),
      ),
      may("write") && el(
        "div", { class: "row" },
        button(t("Add photos"), () => add(), { icon: "add", kind: "primary" }),
        button(t("Rename"), told(() => rename(here)), { icon: "edit" }),
        button(t("Merge"), told(() => merge(here)), { icon: "merge" }),
        button(t("Delete"), told(() => erase(here)), { icon: "trash", kind: "danger" }),
      ),
    ),
    aboutPerson(person, () => shownAgain()),
    advice(usable.length),
    photoList(here),
  );
}

// -- the list of photos -----------------------------------------------------------------------------------------------

const PHOTO_ORDERS = {
  file: [t("By file name"), (one, other) => nameOf(one).localeCompare(nameOf(other))],
  taken: [t("Newest first"), (one, other) => (other.original?.taken ?? "").localeCompare(one.original?.taken ?? "")],
  added: [t("Added last first"), (one, other) => (other.original?.added ?? "").localeCompare(one.original?.added ?? "")],
};

/** What a photo's file was called where it came from. */
const nameOf = (photo) => photo.original?.name ?? photo.file;

/** "10 May 2010, 10:04:01", when a photo was taken; null if that is unknown. */
const takenOn = (photo) => photo.original?.taken && exactly(moment(photo.original.taken));

/** The photos, in an order that can be chosen, of which several can be chosen. */
function photoList(here) {
  const { person, chosen } = here;
  const list = el("ul", { class: "photos" });
  const order = el("select", { "aria-label": t("Order of the photos") }, Object.entries(PHOTO_ORDERS).map(([value, [text]]) => el("option", { value }, text)));
  const count = el("span", { class: "number", role: "status" });
  const acting = el("div", { class: "row" },
    button(t("Move"), here.told(() => movePhotos(here, [...chosen])), { icon: "merge" }),
    button(t("Remove"), here.told(() => removeAll(here, [...chosen])), { icon: "trash", kind: "danger" }));
  const choosing = button(t("Choose several"), () => choose(!here.choosing), { icon: "check", "aria-pressed": "false" });
  const all = button(t("All"), () => {
    const every = person.photos.filter((photo) => photo.id);
    const clear = chosen.size === every.length;
    chosen.clear();
    if (!clear) every.forEach((photo) => chosen.add(photo));
    draw();
  }, { "aria-label": t("Choose all photos") });

  function choose(now) {
    here.choosing = now;
    chosen.clear();
    choosing.setAttribute("aria-pressed", String(now));
    draw();
  }

  here.ticked = () => {
    count.textContent = here.choosing ? n(chosen.size, "{count} chosen", "{count} chosen") : "";
    acting.hidden = !here.choosing || !chosen.size;
    all.hidden = !here.choosing;
  };

  function draw() {
    fill(list, [...person.photos].sort(PHOTO_ORDERS[order.value][1]).map((photo) => photoCard(here, photo)));
    here.ticked();
  }

  order.addEventListener("change", draw);
  draw();
  return [person.photos.length > 1 && el("div", { class: "row photo-tools" }, order, may("write") && [choosing, all, count, acting]), list];
}

function advice(count) {
  if (count >= 3 || !may("write")) return null;
  const few = count ? n(count, "Only {count} usable photo.", "Only {count} usable photos.") : t("No usable photos.");
  return el("p", { class: "notice" }, icon("image"), el("span", null, `${few} ${t("For reliable recognition, add at least three, in different light and from slightly different angles.")}`));
}

// -- photos ---------------------------------------------------------------------------------------------------------

function photoCard(here, photo) {
  const remarks = el("span", { class: "photo-quality" });
  const face = photo.thumbnail ? thumbnail(photo.thumbnail, "", { lazy: true }) : el("span", { class: "crop missing" }, icon("image"));
  const look = button("", () => open(here, photo), { class: "photo-open", label: t("Open {name}", { name: nameOf(photo) }), disabled: !photo.id });
  const tick = el("input", { type: "checkbox", checked: here.chosen.has(photo), "aria-label": t("Choose {name}", { name: nameOf(photo) }), on: { change: () => {
    if (tick.checked) here.chosen.add(photo);
    else here.chosen.delete(photo);
    here.ticked();
  } } });
  fill(look, face);
  const node = el(
    "li", { class: `photo ${photo.problem ? "refused" : ""}` },
    look,
    here.choosing && photo.id && el("label", { class: "photo-tick" }, tick),
    el("div", { class: "photo-about" },
      el("span", { class: "photo-file", title: nameOf(photo) }, nameOf(photo)),
      takenOn(photo) && el("span", { class: "small muted" }, takenOn(photo)),
      here.person.cover === photo.id && photo.id && el("span", { class: "tag good" }, icon("image"), t("Cover")),
      photo.problem ? el("span", { class: "tag bad" }, icon("warning"), t("Not used")) : remarks,
      (photo.warnings ?? []).map((each) => el("span", { class: "tag warn" }, icon("warning"), warning(each))),
      photo.problem && el("span", { class: "small muted" }, saidOf(photo.problem)),
      may("write") && photo.id && el("div", { class: "row" },
        photo.problem?.code === "several_faces" && button(t("Use the largest face"), here.told(() => useLargest(here, photo)), { class: "little" }),
        photo.problem?.code === "several_faces" && button(t("Choose the face"), here.told(() => useChosen(here, photo)), { class: "little", "aria-label": t("Choose the face on {name}", { name: nameOf(photo) }) }),
        button(t("Remove"), here.told(() => remove(here, photo)), { class: "little", kind: "danger", "aria-label": t("Remove {name}", { name: nameOf(photo) }) }))),
  );
  if (!photo.problem) here.qualities.when(node, here.person.name, photo, (found) => fill(remarks, tags(found)));
  return node;
}

function tags({ quality }) {
  if (!quality) return null;
  if (!quality.remarks.length) return el("span", { class: "tag good" }, icon("check"), t("Good quality"));
  return el("span", { class: "tag warn" }, quality.remarks.map((code) => REMARKS[code] ?? code).join(", "));
}

/** Loads the quality of photos when they become visible, a few at a time. */
class Qualities {
  constructor(signal) {
    this.signal = signal;
    this.waiting = [];
    this.running = 0;
    this.wanted = new WeakMap();
    this.known = new Map();
    this.sight = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) {
        if (!isIntersecting) continue;
        this.sight.unobserve(target);
        this.waiting.push(this.wanted.get(target));
      }
      this.work();
    }, { rootMargin: "600px 0px" }); // a little ahead of scrolling
    signal.addEventListener("abort", () => this.sight.disconnect());
  }

  when(node, name, photo, told) {
    this.wanted.set(node, async () => told(await this.of(name, photo)));
    this.sight.observe(node);
  }

  of(name, photo) {
    if (!this.known.has(photo.id)) this.known.set(photo.id, api(`${personPath(name, "photos", photo.id)}/quality`, { signal: this.signal }));
    return this.known.get(photo.id);
  }

  work() {
    while (this.running < AT_ONCE && this.waiting.length && !this.signal.aborted) {
      this.running += 1;
      this.waiting.shift()().catch(() => {}).finally(() => ((this.running -= 1), this.work()));
    }
  }
}

/** Shows the whole photo and marks the face that is used. */
async function open(here, photo) {
  const stage = new Stage(() => {});
  const facts = el("dl", { class: "facts" });
  const path = personPath(here.person.name, "photos", photo.id);
  const load = async () => {
    const shown = await stage.load(await api(path, { accept: "image/*", signal: here.signal }));
    if (!shown) return void stage.node.replaceChildren(el("p", { class: "muted" }, t("Your browser cannot display this format."), " ", el("a", { href: path, download: photo.file }, t("Download the photo"))));
    if (photo.box) stage.show({ image: { width: photo.width, height: photo.height }, faces: [{ box: photo.box, subject: here.person.name, distance: 0 }] });
    stage.boxes.forEach((box) => (box.disabled = true));
  };
  const tell = async () => {
    const rows = [[t("File"), nameOf(photo)], takenOn(photo) && [t("Taken"), takenOn(photo)], photo.original?.added && [t("Added"), exactly(moment(photo.original.added))],
      [t("Stored as"), photo.file], [t("Size"), bytes(photo.bytes)]].filter(Boolean);
    if (photo.width) rows.push([t("Pixels"), `${photo.width} × ${photo.height}`]);
    const draw = () => fill(facts, rows.map(([name, value]) => [el("dt", null, name), el("dd", { class: "number" }, String(value))]));
    draw();
    if (photo.problem) return;
    const { quality } = await here.qualities.of(here.person.name, photo);
    if (!quality) return;
    rows.push(
      [t("Face quality"), quality.remarks.map((code) => REMARKS[code] ?? code).join(", ") || t("good")],
      [t("Sharpness"), quality.sharpness], [t("Contrast"), quality.contrast], [t("Brightness"), quality.brightness],
    );
    if (quality.yaw !== null) rows.push([t("Yaw, pitch, roll"), `${quality.yaw}°, ${quality.pitch}°, ${quality.roll}°`]);
    draw();
  };
  const notes = (photo.warnings ?? []).map((each) =>
    el("div", { class: "notice warn" }, icon("warning"), el("span", null, each.distance ? t("{warning} (distance {distance}).", { warning: warning(each), distance: decimal(each.distance, 2) }) : sentence(warning(each))),
      each.subject && each.code === "looks_like_another" && el("a", { class: "button little", href: `#/people/${encodeURIComponent(each.subject)}` }, el("span", null, t("Open {name}", { name: each.subject })))));
  const asked = dialog(
    nameOf(photo),
    () => [stage.node, photo.problem && el("p", { class: "notice bad" }, icon("warning"), el("span", null, t("Not used: {reason}", { reason: saidOf(photo.problem) }))), notes, facts],
    (close) => [
      may("write") && !photo.problem && here.person.cover !== photo.id && button(t("Use as cover"), () => close("cover"), { icon: "image" }),
      may("write") && !photo.problem && button(t("Move"), () => close("move"), { icon: "merge" }),
      may("write") && button(t("Remove"), () => close("remove"), { icon: "trash", kind: "danger" }),
      button(t("Close"), () => close(), { autofocus: true }),
    ],
    { wide: true, onclose: () => stage.close() },
  );
  here.told(load)();
  here.told(tell)();
  const wanted = { remove: () => remove(here, photo), move: () => movePhotos(here, [photo]), cover: () => useAsCover(here, photo) }[await asked];
  if (wanted) await here.told(wanted)();
}

async function useAsCover(here, photo) {
  await api(personPath(here.person.name), { method: "PATCH", json: { cover: photo.id } });
  toast(t("This photo stands for the person now"));
  here.again();
}

/** Gives photos to somebody else, who may be new. */
async function movePhotos(here, photos) {
  const { person } = here;
  const count = photos.length;
  const left = person.photos.length - count;
  const about = left > 0
    ? n(count, "{count} photo will belong to another person, enrolled or new.", "{count} photos will belong to another person, enrolled or new.")
    : t("These are all photos of {name}, who will no longer be recognised. To keep events and consent, merge instead.", { name: person.name });
  const moved = await askName(n(count, "Move {count} photo", "Move {count} photos"), t("Move to"), "", t("Move"), about, async (name) => {
    for (const photo of photos) await api(`${personPath(person.name, "photos", photo.id)}/move`, { json: { to: name } });
    return { name };
  }, otherNames(person));
  if (!moved) return;
  toast(n(count, "{count} photo moved to {name}", "{count} photos moved to {name}", { name: moved.name }), { action: [t("Open {name}", { name: moved.name }), () => here.go("people", moved.name)] });
  if (left > 0) here.again();
  else here.go("people", moved.name);
}

/** Removes several photos at once. */
async function removeAll(here, photos) {
  const { person } = here;
  const count = photos.length;
  const left = person.photos.length - count;
  const how = await askHow(
    n(count, "Remove {count} photo?", "Remove {count} photos?"),
    el("div", { class: "stack" }, el("div", { class: "row" }, photos.filter((photo) => photo.thumbnail).slice(0, 8).map((photo) => thumbnail(photo.thumbnail))),
      el("p", null, left ? n(left, "{name} keeps {count} photo.", "{name} keeps {count} photos.", { name: person.name }) : t("{name} will no longer be recognised.", { name: person.name }))),
    n(count, "Remove {count} photo", "Remove {count} photos"), here.binDays,
  );
  if (how) await drop(here, photos, how, n(count, "{count} photo of {name} was removed", "{count} photos of {name} were removed", { name: person.name }));
}

async function drop(here, photos, how, said) {
  const { person } = here;
  const left = person.photos.length - photos.length;
  const ids = [];
  try {
    for (const photo of photos) {
      const done = await api(personPath(person.name, "photos", photo.id), { method: "DELETE", query: how === "bin" ? { bin: "true" } : {} });
      if (done.bin) ids.unshift(done.bin);
    }
  } finally {
    if (ids.length || how === "erase") sayDeleted(said, ids, (restored) => {
      if (location.hash === `#/people/${encodeURIComponent(restored.name)}`) here.again();
      else here.go("people", restored.name);
    });
    if (left) here.again();
    else here.go("people");
  }
}

async function remove(here, photo) {
  const { person } = here;
  const left = person.photos.length - 1;
  const how = await askHow(
    t("Remove this photo?"),
    el("div", { class: "row nowrap" }, photo.thumbnail && thumbnail(photo.thumbnail),
      el("p", null, t("{file} and all data derived from it will be removed.", { file: nameOf(photo) }), " ",
        left ? n(left, "{name} keeps {count} photo.", "{name} keeps {count} photos.", { name: person.name }) : t("It is the last photo, so {name} will no longer be recognised.", { name: person.name }))),
    t("Remove photo"), here.binDays,
  );
  if (how) await drop(here, [photo], how, t("The photo was removed"));
}

/** Enrols the largest face of a photo with several, then deletes that photo; if enrolment fails, the photo is kept. */
async function useLargest(here, photo) {
  const path = personPath(here.person.name, "photos", photo.id);
  const blob = await api(path, { accept: "image/*" });
  const { faces } = await api("/detect", { body: blob });
  const size = ({ box }) => Math.min(box.right - box.left, box.bottom - box.top);
  const [face] = faces.sort((one, other) => size(other) - size(one));
  const stage = new Stage(() => {});
  if (!face || !(await stage.load(blob))) throw new ApiError(422, { code: "no_face", message: t("no face was found in this photo") });
  const portrait = await stage.portrait(face.box);
  stage.close();
  await replaceBy(here, photo, portrait);
  toast(t("The largest face is now used"));
}

/** Asks for the face, enrols it alone, and deletes the photo of several people. */
async function useChosen(here, photo) {
  const path = personPath(here.person.name, "photos", photo.id);
  const picked = await pickFace(here.person.name, () => api(path, { accept: "image/*" }));
  if (!picked) return;
  await replaceBy(here, photo, picked.portrait);
  toast(t("The chosen face is now used"));
}

/** Enrols a picture of the face alone in place of a photo; if that fails, the photo is kept. */
async function replaceBy(here, photo, portrait) {
  const form = new FormData();
  form.set("subject", here.person.name);
  form.set("face", "largest");
  form.set("file", portrait, nameOf(photo).replace(/\.\w+$/, "-face.jpg"));
  await api("/enroll", { form });
  await api(personPath(here.person.name, "photos", photo.id), { method: "DELETE" });
  here.again();
}

// -- the person -----------------------------------------------------------------------------------------------------

/** Asks for a name. If `work(name)` throws, the dialog shows the error and stays open; otherwise it resolves. */
function askName(title, label, value, sure, about, work, suggestions) {
  return dialog(title, (close) => {
    const field = el("input", { id: "name", value, required: true, maxlength: "200", autocomplete: "off", spellcheck: "false", autofocus: true, list: suggestions && "suggested" });
    const problem = el("p", { class: "field-error", role: "alert" });
    const submit = el("button", { type: "submit", class: "button primary" }, sure);
    const form = el(
      "form", { class: "stack" }, about && el("p", { class: "muted" }, about),
      el("div", { class: "field" }, el("label", { for: "name" }, label), field, suggestions && el("datalist", { id: "suggested" }), problem),
      el("div", { class: "row end" }, button(t("Cancel"), () => close()), submit),
    );
    if (suggestions) field.addEventListener("input", () => suggestions(field.value).then((names) => fill(form.querySelector("datalist"), names.map((each) => el("option", { value: each }))), () => {}));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        close((await work(field.value.trim())) ?? true);
      } catch (error) {
        problem.textContent = explain(error);
        field.select();
      } finally {
        submit.disabled = false;
      }
    });
    queueMicrotask(() => field.select());
    return form;
  });
}

async function rename({ person, go }) {
  const renamed = await askName(t("Rename"), t("New name"), person.name, t("Rename"), null, async (name) => {
    if (name === person.name) return { name };
    try {
      return await api(personPath(person.name), { method: "PATCH", json: { name } });
    } catch (error) {
      if (error.code !== "name_taken") throw error;
      const join = await confirm(t("{name} already exists", { name }), n(person.photos.length, "Merge {name} into {other}? {count} photo will be moved. This cannot be undone automatically.", "Merge {name} into {other}? {count} photos will be moved. This cannot be undone automatically.", { name: person.name, other: name }), t("Merge"), { kind: "primary" });
      if (!join) throw error;
      return api(personPath(person.name), { method: "PATCH", json: { name, merge: true } });
    }
  });
  if (renamed && renamed.name !== person.name) {
    toast(t("{name} was renamed to {other}", { name: person.name, other: renamed.name }));
    go("people", renamed.name);
  }
}

/** Suggests the names of other people. */
const otherNames = (person) => async (search) => (await api("/people", { query: { search, limit: 20 } })).people.map((each) => each.name).filter((each) => each !== person.name);

async function merge({ person, go }) {
  const about = n(person.photos.length, "{count} photo of {name} will be moved to another enrolled person, and {name} will be removed from the list.", "{count} photos of {name} will be moved to another enrolled person, and {name} will be removed from the list.", { name: person.name });
  const merged = await askName(t("Merge {name}", { name: person.name }), t("Merge into"), "", t("Merge"), about, async (name) => {
    await api(personPath(name)); // the person must exist; otherwise the request below would rename
    return api(personPath(person.name), { method: "PATCH", json: { name, merge: true } });
  }, otherNames(person));
  if (merged) {
    toast(t("{name} was merged into {other}", { name: person.name, other: merged.name }));
    go("people", merged.name);
  }
}

async function erase({ person, go, again, binDays }) {
  const faces = person.photos.filter((photo) => photo.thumbnail).slice(0, 6);
  const how = await askHow(
    t("Delete {name}?", { name: person.name }),
    el("div", { class: "stack" },
      el("div", { class: "row" }, faces.map((photo) => thumbnail(photo.thumbnail))),
      el("p", null, t("The following will be deleted:")),
      el("ul", { class: "dots" },
        el("li", null, n(person.photos.length, "{count} photo and the folder {name} in known_faces", "{count} photos and the folder {name} in known_faces", { name: person.name })),
        el("li", null, n(person.templates, "{count} template and all thumbnails", "{count} templates and all thumbnails")))),
    t("Delete {name}", { name: person.name }), binDays, t("It empties the bin of this person, and erases the name and pictures in camera events, visits and the archive."),
  );
  if (!how) return;
  const done = await api(personPath(person.name), { method: "DELETE", query: how === "bin" ? { bin: "true" } : {} });
  sayDeleted(n(done.photos, "{name} and {count} photo were deleted", "{name} and {count} photos were deleted", { name: done.deleted }), done.bin ? [done.bin] : [], (restored) => {
    if (location.hash === `#/people/${encodeURIComponent(restored.name)}`) again();
    else go("people", restored.name);
  });
  go("people");
}
