// The dialog with the settings of one camera: zones and masks, hours, and its own limits.

import { AreaEditor } from "./area-editor.js";
import { button, confirm, dialog, el, fill, toast, toggle } from "./dom.js";
import { api, explain } from "./api.js";
import { locale, n, number, t } from "./i18n.js";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const WEEKDAYS = DAYS.slice(0, 5);
const RATES = [0.1, 0.01, 0.001, 0.0001];
const MOST_PERIODS = 28;
const PICTURE_WIDTH = 1280;

/** Names of the days, as short as the language has them. 1 January 2024 was a Monday. */
const dayName = (place, weekday = "short") => new Intl.DateTimeFormat(locale, { weekday, timeZone: "UTC" }).format(Date.UTC(2024, 0, 1 + place));

/** Shows the settings of a camera, and saves them; resolves with true if they were changed. */
export async function configureCamera(camera, signal) {
  const address = `/cameras/${encodeURIComponent(camera.id)}`;
  let settings;
  try {
    settings = await api(`${address}/settings`, { signal });
  } catch (error) {
    if (error.name !== "AbortError") toast(explain(error), { kind: "bad" });
    return false;
  }
  let dirty = false;
  const changed = () => (dirty = true);
  const areas = new AreaEditor({ zones: settings.zones, masks: settings.masks, changed });
  const hours = new Hours(settings.schedule, changed);
  const limits = new Limits(settings, changed);
  let { events } = settings;
  const wrong = el("p", { class: "field-error", role: "alert" });
  const blind = el("p", { class: "muted small", hidden: true }, t("There is no picture of this camera at the moment. Areas can be drawn all the same."));

  const load = async () => {
    try {
      await areas.load(await api(`${address}/snapshot.jpg`, { query: { raw: true, width: PICTURE_WIDTH }, accept: "image/jpeg", signal }));
    } catch (error) {
      blind.hidden = error.name === "AbortError";
    }
  };

  let save;
  const send = async (close) => {
    wrong.textContent = "";
    save.disabled = true;
    try {
      const json = { zones: areas.zones, masks: areas.masks, schedule: hours.periods, events, ...limits.values };
      await api(`${address}/settings`, { method: "PUT", json });
      toast(t("The settings of {name} were saved", { name: camera.name }));
      close(true);
      tellOfRules(camera);
    } catch (error) {
      wrong.textContent = explain(error);
      wrong.scrollIntoView({ block: "nearest" });
    } finally {
      save.disabled = false;
    }
  };

  load();
  const done = await dialog(
    t("Zones and settings of {name}", { name: camera.name }),
    () =>
      el(
        "div", { class: "stack camera-settings" }, blind, areas.node,
        el("div", { class: "field" }, toggle(t("This camera gives events about people"), events, (on) => ((events = on), changed())), el("p", { class: "muted small" }, t("Otherwise people are shown with their names, and nothing about them is stored."))),
        hours.node, limits.node, wrong,
      ),
    (close) => [button(t("Cancel"), () => (dirty ? leave().then((may) => may && close()) : close())), (save = button(t("Save"), () => send(close), { kind: "primary" }))],
    { wide: true, mayDismiss: () => !dirty || leave() },
  );
  return done === true;
}

/** Says so if a rule is about a zone that this camera does not have any longer. */
async function tellOfRules(camera) {
  const { rules } = await api("/rules").catch(() => ({ rules: [] })); // the view Rules says it as well
  const count = rules.filter((rule) => rule.lost_zones.some((zone) => zone.startsWith(`${camera.id}/`))).length;
  if (count) toast(n(count, "{count} rule is about a zone that is no longer there: see Rules.", "{count} rules are about zones that are no longer there: see Rules."), { kind: "bad" });
}

const leave = () => confirm(t("Discard the changes?"), t("The settings of the camera stay as they were."), t("Discard"));

/** Hours in which a camera gives events, as rows of days and two times. */
class Hours {
  constructor(schedule, changed) {
    this.rows = schedule.map((each) => ({ days: new Set(each.days), from: each.from, to: each.to === "24:00" ? "00:00" : each.to }));
    this.changed = changed;
    this.list = el("div", { class: "stack" });
    this.node = el("fieldset", { class: "stack" }, el("legend", null, t("Hours")), this.list);
    this.show();
  }

  /** As the API takes them; rows without a day are left out. */
  get periods() {
    return this.rows.filter((row) => row.days.size && row.from && row.to).map(({ days, from, to }) => ({ days: DAYS.filter((day) => days.has(day)), from, to }));
  }

  show() {
    fill(
      this.list,
      el("p", { class: "muted small" }, this.rows.length ? t("Events are given in these hours, by the server's clock. Hours that end before they begin last until the following day.") : t("Events are given at any time.")),
      this.rows.map((row, place) => this.row(row, place)),
      el("div", { class: "row" }, button(t("Add hours"), () => this.add(), { icon: "add", class: "little", disabled: this.rows.length >= MOST_PERIODS })),
    );
  }

  add() {
    this.rows.push({ days: new Set(WEEKDAYS), from: "18:00", to: "06:00" });
    this.changed();
    this.show();
    this.list.querySelectorAll(".hours-row").item(this.rows.length - 1).querySelector("input").focus();
  }

  row(row, place) {
    const day = (name, at) => {
      const box = el("input", { type: "checkbox", checked: row.days.has(name), "aria-label": dayName(at, "long"), on: { change: () => (box.checked ? row.days.add(name) : row.days.delete(name), this.changed()) } });
      return el("label", { class: "day" }, box, el("span", { "aria-hidden": "true" }, dayName(at)));
    };
    const time = (name, label) => {
      const field = el("input", { type: "time", value: row[name], required: true, "aria-label": label, on: { change: () => ((row[name] = field.value), this.changed()) } });
      return field;
    };
    const remove = () => {
      this.rows.splice(place, 1);
      this.changed();
      this.show();
      this.list.querySelector("button:last-of-type")?.focus();
    };
    return el(
      "div", { class: "hours-row", role: "group", "aria-label": t("Hours {number}", { number: place + 1 }) },
      el("div", { class: "days" }, DAYS.map(day)),
      el("div", { class: "row" }, time("from", t("Begins at")), time("to", t("Ends at")), button("", remove, { icon: "trash", kind: "quiet", class: "little", label: t("Remove hours {number}", { number: place + 1 }) })),
    );
  }
}

/** Limits that differ from the server's. */
class Limits {
  constructor(settings, changed) {
    const everywhere = t("As everywhere");
    const field = (id, props) => el("input", { id, type: "number", placeholder: everywhere, on: { input: changed }, ...props });
    this.face = field("camera-min-face", { min: "8", max: "2000", step: "1", value: settings.min_face ?? "" });
    this.quality = field("camera-quality", { min: "0", max: "1", step: "0.05", value: settings.unknown_quality ?? "" });
    const rates = [...new Set([...RATES, settings.stranger_rate])].filter((each) => each !== null).sort((one, other) => other - one);
    this.rate = el(
      "select", { id: "camera-rate", on: { change: changed } }, el("option", { value: "" }, everywhere),
      rates.map((rate) => el("option", { value: String(rate) }, t("1 in {many}", { many: number(1 / rate, { maximumSignificantDigits: 3 }) }))),
    );
    this.rate.value = settings.stranger_rate === null ? "" : String(settings.stranger_rate);
    const part = (input, label, words) => el("div", { class: "field" }, el("label", { for: input.id }, label), input, el("p", { class: "muted small" }, words));
    this.node = el(
      "fieldset", { class: "stack" }, el("legend", null, t("Limits of this camera")),
      part(this.face, t("Smallest face, in pixels"), t("Smaller faces in the camera's picture are ignored.")),
      part(this.rate, t("Strangers who get a name"), t("How often somebody who is not enrolled may be taken for somebody else.")),
      part(this.quality, t("Lowest quality of unknown people"), t("From 0 to 1. Unknown people whose best picture is worse give no events.")),
    );
  }

  get values() {
    const value = (field) => (field.value === "" ? null : Number(field.value));
    return { min_face: value(this.face), stranger_rate: value(this.rate), unknown_quality: value(this.quality) };
  }
}
