// The match threshold section of Settings: the stranger rate, and its effect on this gallery's own distances.

import { announce, button, el, fill, icon, svg, toast } from "./dom.js";
import { api, explain } from "./api.js";
import { decimal, mixed, n, percent, t } from "./i18n.js";
import { thumbnail } from "./stage.js";
import { oneIn } from "./words.js";

const AGAIN = 1500;
const CHART = { width: 640, height: 150 };
const BY_DEFAULT = 0.01;

/** Returns the section's node, a promise for its first content, and `check(templates)`, which measures again if the gallery
 *  has another number of templates now. Polls until the distances have been measured. */
export function rateSection(signal) {
  let current = null;
  const node = el("section", { class: "card stack rate", "aria-labelledby": "rate-title" }, el("h2", { id: "rate-title" }, t("Match threshold")), el("div", { class: "spinner", role: "status", "aria-label": t("Measuring") }));
  const load = async (keep = null) => {
    try {
      const [found, { settings }] = await Promise.all([api("/calibration", { signal }), api("/settings", { signal })]);
      const setting = settings.find((each) => each.name === "stranger_rate");
      const shown = new Rate(found, setting, load, keep);
      current = { templates: found.templates, again: () => signal.aborted || load(shown.touched ? shown.point().stranger_rate : null) };
      fill(node, el("h2", { id: "rate-title" }, t("Match threshold")), shown.parts());
      if (!found.current) setTimeout(current.again, AGAIN);
    } catch (error) {
      if (error.name !== "AbortError") fill(node, el("h2", null, t("Match threshold")), el("p", { class: "field-error", role: "alert" }, explain(error)), button(t("Try again"), () => load()));
    }
  };
  const check = (templates) => current && current.templates !== templates && !node.contains(document.activeElement) && current.again();
  return { node, ready: load(), check };
}

const said = (share) => (share > 0 && share < 0.001 ? t("under {share}", { share: percent(0.001, 1) }) : share < 1 && share > 0.999 ? t("over {share}", { share: percent(0.999, 1) }) : percent(share, 1));

class Rate {
  constructor(found, setting, load, keep) {
    Object.assign(this, { found, setting, load });
    this.saved = this.place(found.stranger_rate ?? setting.value);
    this.at = keep === null ? this.saved : this.place(keep);
    this.touched = keep !== null;
  }

  place(rate) {
    const places = this.found.curve.map((each) => Math.abs(Math.log(each.stranger_rate / rate)));
    return places.indexOf(Math.min(...places));
  }

  point() {
    return this.found.curve[this.at];
  }

  /** The threshold to show: a fixed distance does not follow the slider. */
  threshold() {
    return this.found.stranger_rate === null ? this.found.threshold : this.point().threshold;
  }

  parts() {
    const { curve, templates, measured } = this.found;
    const fixed = !this.setting.changeable;
    this.said = el("output", { for: "rate", class: "rate-said" });
    this.slider = el("input", {
      id: "rate", type: "range", min: "0", max: String(curve.length - 1), step: "1", value: String(this.at), disabled: fixed, "aria-label": t("How often a stranger may get a wrong name"),
      on: { input: () => ((this.at = Number(this.slider.value)), (this.touched = true), this.say()) },
    });
    this.figures = el("dl", { class: "rate-figures" });
    this.save = button(t("Save"), () => this.change(this.point().stranger_rate), { kind: "primary" });
    this.back = button(t("Reset"), () => ((this.at = this.saved), (this.slider.value = String(this.at)), this.say()), { kind: "quiet" });
    this.plain = button(t("Use default ({rate})", { rate: oneIn(BY_DEFAULT) }), () => this.change(BY_DEFAULT), { kind: "quiet" });
    this.chart = el("div", { class: "rate-chart" });
    this.closest = el("div", { class: "stack" });
    this.say();
    const why = this.setting.fixed_by;
    return [
      el("p", { class: "muted" }, t("A face gets the name of the closest enrolled person if the distance is within the threshold. Stricter: fewer strangers get a wrong name. Looser: fewer of your people are missed.")),
      fixed && el("p", { class: "notice" }, icon("key"), el("span", null, this.found.stranger_rate === null ? mixed("Set by {setting} as a fixed distance. It can only be changed there.", { setting: el("code", null, why) }) : mixed("Set by {setting}. It can only be changed there.", { setting: el("code", null, why) }))),
      el("div", { class: "rate-slider" }, this.said, this.slider, el("div", { class: "spread small muted" }, el("span", null, t("Stricter")), el("span", null, t("Looser")))),
      this.figures,
      !fixed && el("div", { class: "row" }, this.save, this.back, this.plain),
      measured && !this.found.current && el("p", { class: "notice warn", role: "status" }, icon("warning"), el("span", null, t("The shares, the histogram and the list below are from before the last change of the enrolled photos. They are being measured again..."))),
      this.chart,
      templates === 0 ? el("p", { class: "muted" }, t("Nobody is enrolled yet, so there are no distances to measure.")) : this.closest,
    ];
  }

  say() {
    const point = this.point();
    const { measured, templates } = this.found;
    const words = t("{rate} strangers gets a wrong name", { rate: oneIn(point.stranger_rate) });
    this.said.textContent = this.found.stranger_rate === null ? t("Fixed threshold: {threshold}", { threshold: decimal(this.found.threshold, 3) }) : words.charAt(0).toUpperCase() + words.slice(1);
    this.slider.setAttribute("aria-valuetext", words);
    const some = (share, nobody) => (measured ? (share === null ? nobody : said(share)) : t("Measuring..."));
    const figures = [
      [t("Threshold"), decimal(this.threshold(), 3), n(templates, "False match rate: {rate} comparisons of different people, with {count} photo enrolled.", "False match rate: {rate} comparisons of different people, with {count} photos enrolled.", { rate: oneIn(point.false_match_rate) })],
      [t("Your people recognised"), some(point.accepted, t("Not available")), point.accepted === null ? t("Needs at least two photos of one person.") : t("Share of photos that match another photo of the same person.")],
      [t("Your people confused"), some(point.mistaken, t("Not available")), point.mistaken === null ? t("Needs at least two people.") : t("Share of photos that would match somebody else if their own person were not enrolled.")],
    ];
    fill(this.figures, figures.map(([name, value, help]) => el("div", null, el("dt", null, name), el("dd", { class: "number" }, value), el("dd", { class: "muted small" }, help))));
    const same = this.at === this.saved;
    this.save.disabled = this.back.disabled = same;
    this.plain.hidden = this.setting.source === "default";
    this.draw();
    this.pairs();
  }

  draw() {
    const { measured } = this.found;
    const longest = Math.max(measured?.same.bars.length ?? 0, measured?.different.bars.length ?? 0);
    if (!longest) return void this.chart.replaceChildren();
    const last = Math.max(longest * measured.bar_width, this.found.curve.at(-1).threshold * 1.05);
    const x = (distance) => (distance / last) * CHART.width;
    const width = Math.max(1, x(measured.bar_width) - 1);
    const bars = (kind) => {
      const counts = measured[kind].bars;
      const most = Math.max(...counts, 1);
      return counts.map((count, place) => {
        if (!count) return null;
        const height = Math.max(2, (count / most) * (CHART.height - 8));
        return svg("rect", { class: kind, x: x(place * measured.bar_width), y: CHART.height - height, width, height, rx: 1 });
      });
    };
    const line = x(this.threshold());
    const words = t("Histogram of the distances between photos of the same person and of different people. The threshold is {threshold}.", { threshold: decimal(this.threshold(), 2) });
    fill(
      this.chart,
      svg("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
        svg("rect", { class: "within", x: 0, y: 0, width: line, height: CHART.height }), bars("different"), bars("same"),
        svg("line", { class: "edge", x1: line, x2: line, y1: 0, y2: CHART.height })),
      el("div", { class: "rate-axis small muted number" }, el("span", null, "0"), el("span", null, t("distance")), el("span", null, decimal(last, 1))),
      el("ul", { class: "rate-legend small" },
        el("li", { class: "same" }, t("Closest other photo of the same person ({count})", { count: measured.same.count })),
        el("li", { class: "different" }, t("Closest photo of a different person ({count})", { count: measured.different.count })),
        el("li", { class: "within" }, t("Within the threshold"))),
      measured.sampled < measured.templates && el("p", { class: "muted small" }, t("Measured on a random sample of {sampled} of {all} photos, each compared with all photos.", { sampled: measured.sampled, all: measured.templates })),
    );
  }

  pairs() {
    const closest = this.found.measured?.closest ?? [];
    if (!closest.length) return void this.closest.replaceChildren();
    const limit = this.threshold();
    const row = ({ distance, photos }) => {
      const near = distance <= limit;
      const [one, other] = photos;
      const name = (each) => el("a", { href: `#/people/${encodeURIComponent(each.subject)}` }, each.subject);
      return el(
        "li", { class: near ? "near" : "" },
        el("span", { class: "pair" }, photos.map((each) => (each.thumbnail ? thumbnail(each.thumbnail) : el("span", { class: "crop missing" }, icon("face"))))),
        el("span", { class: "pair-names" }, name(one), el("span", { class: "muted" }, ` ${t("and")} `), name(other)),
        el("span", { class: "number" }, decimal(distance, 3)),
        el("span", { class: `tag ${near ? "bad" : "good"}` }, near ? t("would be confused") : t("distinguished")),
      );
    };
    const near = closest.filter((each) => each.distance <= limit).length;
    const open = this.closest.querySelector("details")?.open ?? true;
    fill(
      this.closest,
      el("details", { open }, el("summary", null, icon("people"), el("span", null, t("Most similar people")), near > 0 && el("span", { class: "tag bad" }, near === closest.length && near >= 12 ? n(near, "at least {count} pair would be confused", "at least {count} pairs would be confused") : n(near, "{count} pair would be confused", "{count} pairs would be confused"))),
        el("ul", { class: "closest" }, closest.map(row)),
        near > 0 && el("p", { class: "muted small" }, t("If two of them are the same person under two names, merge them in People."))),
    );
  }

  async change(rate) {
    this.save.disabled = true;
    try {
      await api("/settings", { method: "PATCH", json: { stranger_rate: rate } });
      const words = t("Saved: {rate} strangers may get a wrong name", { rate: oneIn(rate) });
      toast(words);
      announce(words);
      await this.load();
      document.getElementById("rate")?.focus();
    } catch (error) {
      toast(explain(error), { kind: "bad" });
      this.save.disabled = false;
    }
  }
}
