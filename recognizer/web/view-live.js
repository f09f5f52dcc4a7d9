// Live: the cameras, and the timeline of visits.

import { button, el, empty, fill, icon, toast, toggle } from "./dom.js";
import { api, explain, may } from "./api.js";
import { showPresence } from "./presence.js";
import { editCamera, removeCamera } from "./camera-form.js";
import { configureCamera } from "./camera-settings.js";
import { n, t } from "./i18n.js";
import { Timeline } from "./timeline.js";
import { stateWords, Wall } from "./wall.js";
import { ATTRIBUTES, cameraNames } from "./words.js";

export const title = t("Live");

const EVERY = 2000;
const ASLEEP = 15000;
const OVERLAYS = [["faces", t("Names")], ["objects", t("Objects")], ["landmarks", t("Landmarks")], ["clock", t("Time")], ["fps", t("Frame rate")]];
const TYPING = 250;

export async function show(main, { parts, signal, go }) {
  const alone = parts[0] ?? null;
  const drawn = remembered();
  const { attributes = [] } = await api("/health", { signal }).catch(() => ({}));
  const overlays = [...OVERLAYS, ...ATTRIBUTES.filter(([name]) => attributes.includes(name))];
  let cameras = [];
  let filling = null;
  let names = cameraNames({ cameras: [] });
  const named = (id) => names(id);

  const canFill = document.fullscreenEnabled;
  const fillScreen = (node) => (document.fullscreenElement ? document.exitFullscreen() : node.requestFullscreen()).catch((error) => toast(explain(error), { kind: "bad" }));

  const count = el("p", { class: "number" }, "\u00a0");
  const nothing = el("div");
  const wall = new Wall({
    signal, alone,
    overlay: () => overlays.map(([name]) => name).filter((name) => drawn.has(name)).join(",") || "none",
    tools, open: (camera) => go("live", camera.id),
  });
  const timeline = new Timeline({ signal, names: named, camera: alone ?? "", heard: (event) => event.kind.startsWith("camera_") && look() });

  function tools(camera, card) {
    const change = async () => (await editCamera(camera)) && look();
    const remove = async () => (await removeCamera(camera)) && (alone ? go("live") : look());
    const tool = (what, name, label) => button("", what, { icon: name, kind: "quiet", class: "little", label });
    const { name } = camera;
    return [
      tool(() => card.save(), "download", t("Save a picture of {name}", { name })),
      canFill && tool(() => fillScreen(card.node), "fullscreen", t("Full screen: {name}", { name })),
      may("admin") && tool(() => configureCamera(camera, signal), "area", t("Zones and settings of {name}", { name })),
      may("admin") && !camera.fixed && tool(change, "edit", t("Edit {name}", { name })),
      may("admin") && !camera.fixed && tool(remove, "trash", t("Remove {name}", { name })),
    ];
  }

  const add = async () => {
    const made = await editCamera(null, !cameras.some((each) => each.id === "default"));
    if (made) (toast(t("{name} was added", { name: made.name })), look());
  };

  // -- state of the cameras -------------------------------------------------------------------------------------

  let failed = false;
  async function look(first = false) {
    let found;
    try {
      const listed = await api("/cameras", { signal });
      found = listed.cameras;
      names = cameraNames(listed);
    } catch (error) {
      if (first) throw error;
      if (error.name === "AbortError") return;
      failed = true;
      wall.doubt(t("The server is not responding"));
      return;
    }
    const marks = (list) => list.map((each) => `${each.id} ${each.name} ${each.zones.join("\t")}`).join("\n");
    const before = marks(cameras);
    cameras = found;
    const shown = alone ? found.filter((each) => each.id === alone) : found;
    wall.update(shown);
    if (failed) wall.restart();
    failed = false;
    if (before !== marks(found)) rename();
    const live = found.filter((each) => each.state.name === "live").length;
    if (alone) count.textContent = shown.length ? stateWords(shown[0].state)[0] : "\u00a0";
    else count.textContent = found.length ? n(found.length, "{count} camera, {live} live", "{count} cameras, {live} live", { live }) : "\u00a0";
    if (alone && shown.length) name.textContent = shown[0].name;
    switches.hidden = !shown.length;
    if (filling) filling.hidden = !shown.length;
    fill(nothing, !shown.length && (alone ? gone() : newcomer()));
  }

  const gone = () => empty("camera", t("Camera not found"), t("It may have been removed."), el("a", { class: "button", href: "#/live" }, t("Show all cameras")));
  const newcomer = () =>
    empty("camera", t("No cameras yet"), may("admin") ? t("Add a network camera, the server's webcam, or a test pattern.") : t("An administrator can add one."),
      may("admin") && button(t("Add a camera"), add, { icon: "add", kind: "primary" }));

  let asked = Date.now();
  const timer = setInterval(() => {
    if (document.hidden) return;
    if (Date.now() - asked > ASLEEP) wall.restart(); // the computer was suspended, so the streams have ended
    asked = Date.now();
    look();
  }, EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  window.addEventListener("online", () => wall.restart(), { signal });
  document.addEventListener("visibilitychange", () => ((asked = Date.now()), document.hidden || look()), { signal });

  // -- overlays -------------------------------------------------------------------------------------------------

  const switches = el(
    "div", { class: "row live-switches", role: "group", "aria-label": t("Overlays") },
    overlays.map(([name, words]) =>
      toggle(words, drawn.has(name), (on) => {
        if (on) drawn.add(name);
        else drawn.delete(name);
        remember(drawn);
        wall.restart();
      })),
  );

  // -- timeline filters -----------------------------------------------------------------------------------------

  const known = el("datalist", { id: "timeline-people" });
  const person = el("input", { type: "search", list: "timeline-people", placeholder: t("Anyone"), "aria-label": t("Filter by person"), autocomplete: "off", spellcheck: "false" });
  const place = el("select", { "aria-label": t("Filter by camera"), on: { change: () => (offerZones(), timeline.begin({ camera: place.value, zone: zone.value })) } });
  const zone = el("select", { "aria-label": t("Filter by zone"), hidden: true, on: { change: () => timeline.begin({ zone: zone.value }) } });
  const days = [["since", t("From day")], ["until", t("To day")]].map(([edge, label]) => el("input", { type: "date", "aria-label": label, title: label, on: { change: (event) => timeline.begin({ [edge]: event.target.value }) } }));
  const table = button(t("Download CSV"), () => (location.href = timeline.table()), { icon: "download", class: "little" });
  let typing;
  person.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(async () => {
      const asked = person.value.trim();
      try {
        const found = asked ? (await api("/people", { query: { search: asked, limit: 12 }, signal })).people : [];
        fill(known, found.map((each) => el("option", { value: each.name })));
        const exact = found.find((each) => each.name.toLowerCase() === asked.toLowerCase());
        if (!asked || exact) await timeline.begin({ subject: exact?.name ?? "" });
      } catch (error) {
        if (error.name !== "AbortError") toast(explain(error), { kind: "bad" });
      }
    }, TYPING);
  });
  person.addEventListener("change", () => timeline.begin({ subject: person.value.trim() }));

  function rename() {
    const chosen = timeline.camera;
    fill(place, el("option", { value: "" }, t("All cameras")), cameras.map((each) => el("option", { value: each.id }, each.name)));
    place.value = cameras.some((each) => each.id === chosen) ? chosen : "";
    offerZones();
    if (timeline.zone !== zone.value) timeline.begin({ zone: zone.value }); // there is no such zone any longer
  }

  /** The zones of the chosen camera, or of all. */
  function offerZones() {
    const names = new Set(cameras.filter((each) => !(alone ?? place.value) || each.id === (alone ?? place.value)).flatMap((each) => each.zones));
    const chosen = zone.value;
    fill(zone, el("option", { value: "" }, t("All zones")), [...names].map((each) => el("option", { value: each }, each)));
    zone.value = names.has(chosen) ? chosen : "";
    zone.hidden = !names.size;
  }

  rename();
  const name = el("h1", null, t("Live"));
  const heading = alone ? el("span", null, el("a", { class: "back", href: "#/live" }, icon("back"), el("span", null, t("All cameras"))), name) : name;
  fill(
    main,
    el("div", { class: "view-head" }, el("div", null, heading, count), switches, canFill && !alone && (filling = button(t("Full screen"), () => fillScreen(wall.node), { icon: "fullscreen" })), !alone && may("admin") && el("div", { class: "row" }, button(t("Rules"), () => go("rules"), { icon: "bolt" }), button(t("Add a camera"), add, { icon: "add" }))),
    el(
      "div", { class: "live" },
      el("div", { class: "live-cameras" }, nothing, wall.node),
      el(
        "section", { class: "live-timeline card", "aria-label": t("Timeline") },
        el("div", { class: "timeline-head" }, el("div", { class: "spread" }, el("h2", null, t("Visits")), timeline.pulse,
            button(t("Presence"), () => showPresence(), { icon: "people", class: "little" })),
          el("div", { class: "timeline-filters" }, el("div", { class: "with-icon" }, icon("search"), person), !alone && place, zone, days, table, known)),
        timeline.node,
      ),
    ),
  );
  await look(true);
  await timeline.begin();
}

// -- overlays of the previous visit -----------------------------------------------------------------------------------

function remembered() {
  try {
    const said = JSON.parse(localStorage.getItem("live-overlay"));
    if (Array.isArray(said)) return new Set(said);
  } catch {
    // storage is not available, or the value is not valid
  }
  return new Set(["faces"]);
}

function remember(drawn) {
  try {
    localStorage.setItem("live-overlay", JSON.stringify([...drawn]));
  } catch {
    // storage is not available: kept until the page is closed
  }
}
