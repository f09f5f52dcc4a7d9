// How near is near enough: the stranger rate, on this gallery's own distances.

import { announce, button, el, fill, icon, plural, svg, toast } from "./dom.js";
import { api, explain } from "./api.js";
import { thumbnail } from "./stage.js";
import { oneIn } from "./words.js";

const AGAIN = 1500;
const CHART = { width: 640, height: 150 };
const BY_DEFAULT = 0.01;

/** The section, and a promise of its first content; asks again until the distances are measured. */
export function rateSection(signal) {
  const node = el("section", { class: "card stack rate", "aria-labelledby": "rate-title" }, el("h2", { id: "rate-title" }, "When does a face get a name?"), el("div", { class: "spinner", role: "status", "aria-label": "Measuring" }));
  const load = async (keep = null) => {
    try {
      const [found, { settings }] = await Promise.all([api("/calibration", { signal }), api("/settings", { signal })]);
      const setting = settings.find((each) => each.name === "stranger_rate");
      const shown = new Rate(found, setting, load, keep);
      fill(node, el("h2", { id: "rate-title" }, "When does a face get a name?"), shown.parts());
      if (!found.current) setTimeout(() => signal.aborted || load(shown.touched ? shown.point().stranger_rate : null), AGAIN);
    } catch (error) {
      if (error.name !== "AbortError") fill(node, el("h2", null, "When does a face get a name?"), el("p", { class: "field-error", role: "alert" }, explain(error)), button("Try again", () => load()));
    }
  };
  return { node, ready: load() };
}

const percent = (share) => (share > 0 && share < 0.001 ? "under 0.1 %" : share < 1 && share > 0.999 ? "over 99.9 %" : `${Number((share * 100).toFixed(1))} %`);

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

  /** The threshold that counts here: one that is fixed does not follow the slider. */
  threshold() {
    return this.found.stranger_rate === null ? this.found.threshold : this.point().threshold;
  }

  parts() {
    const { curve, templates } = this.found;
    const fixed = !this.setting.changeable;
    this.said = el("output", { for: "rate", class: "rate-said" });
    this.slider = el("input", {
      id: "rate", type: "range", min: "0", max: String(curve.length - 1), step: "1", value: String(this.at), disabled: fixed, "aria-label": "How often a stranger may get a name",
      on: { input: () => ((this.at = Number(this.slider.value)), (this.touched = true), this.say()) },
    });
    this.figures = el("dl", { class: "rate-figures" });
    this.save = button("Use this", () => this.change(this.point().stranger_rate), { kind: "primary" });
    this.back = button("As it was", () => ((this.at = this.saved), (this.slider.value = String(this.at)), this.say()), { kind: "quiet" });
    this.plain = button(`Back to ${oneIn(BY_DEFAULT)}`, () => this.change(BY_DEFAULT), { kind: "quiet" });
    this.chart = el("div", { class: "rate-chart" });
    this.closest = el("div", { class: "stack" });
    this.say();
    const why = this.setting.fixed_by;
    return [
      el("p", { class: "muted" }, "Everybody is like somebody a little. Nearer than a threshold counts as the same person; the further out it lies, the fewer of your people are missed, and the more often a stranger is taken for one of them."),
      fixed && el("p", { class: "notice" }, icon("key"), el("span", null, "Set by ", el("code", null, why), this.found.stranger_rate === null ? ", a fixed distance. It can be changed there, and nowhere else." : ". It can be changed there, and nowhere else.")),
      el("div", { class: "rate-slider" }, this.said, this.slider, el("div", { class: "spread small muted" }, el("span", null, "Fewer strangers named"), el("span", null, "Fewer people missed"))),
      this.figures,
      !fixed && el("div", { class: "row" }, this.save, this.back, this.plain),
      this.chart,
      templates === 0 ? el("p", { class: "muted" }, "Nobody is enrolled yet, so there is nothing to measure here.") : this.closest,
    ];
  }

  say() {
    const point = this.point();
    const { measured, templates } = this.found;
    const words = `${oneIn(point.stranger_rate)} strangers gets a name`;
    this.said.textContent = this.found.stranger_rate === null ? `A face gets a name within ${this.found.threshold.toFixed(3)}` : words.charAt(0).toUpperCase() + words.slice(1);
    this.slider.setAttribute("aria-valuetext", words);
    const some = (share, nobody) => (measured ? (share === null ? nobody : percent(share)) : "being measured");
    const figures = [
      ["Largest distance", this.threshold().toFixed(3), `With ${plural(templates, "photo")} to compare with, two different people may be mistaken in ${oneIn(point.false_match_rate)} comparisons.`],
      ["Of your people's photos, recognised", some(point.accepted, "no two of anybody"), "Each photo is compared with the others of the same person."],
      ["Of your people's photos, mistaken", some(point.mistaken, "only one person"), "Each is compared with everybody else, as if its own person were not enrolled."],
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
    const words = `Distances between photos of one person and of different people, and the largest that gets a name: ${this.threshold().toFixed(2)}.`;
    fill(
      this.chart,
      svg("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
        svg("rect", { class: "within", x: 0, y: 0, width: line, height: CHART.height }), bars("different"), bars("same"),
        svg("line", { class: "edge", x1: line, x2: line, y1: 0, y2: CHART.height })),
      el("div", { class: "rate-axis small muted number" }, el("span", null, "0"), el("span", null, "distance"), el("span", null, last.toFixed(1))),
      el("ul", { class: "rate-legend small" },
        el("li", { class: "same" }, `to the nearest other photo of the same person (${measured.same.count.toLocaleString("en")})`),
        el("li", { class: "different" }, `to the nearest photo of somebody else (${measured.different.count.toLocaleString("en")})`),
        el("li", { class: "within" }, "gets a name")),
      measured.sampled < measured.templates && el("p", { class: "muted small" }, `Measured on ${measured.sampled.toLocaleString("en")} of ${plural(measured.templates, "photo")}, drawn by chance and compared with all.`),
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
        el("span", { class: "pair-names" }, name(one), el("span", { class: "muted" }, " and "), name(other)),
        el("span", { class: "number" }, distance.toFixed(3)),
        el("span", { class: `tag ${near ? "bad" : "good"}` }, near ? "would be mistaken" : "told apart"),
      );
    };
    const near = closest.filter((each) => each.distance <= limit).length;
    const open = this.closest.querySelector("details")?.open ?? true;
    fill(
      this.closest,
      el("details", { open }, el("summary", null, icon("people"), el("span", null, "The closest two different people"), near > 0 && el("span", { class: "tag bad" }, `${near === closest.length && near >= 12 ? `${near} or more` : near} would be mistaken`)),
        el("ul", { class: "closest" }, closest.map(row)),
        near > 0 && el("p", { class: "muted small" }, "Are two of them one person under two names? Then join them in People.")),
    );
  }

  async change(rate) {
    this.save.disabled = true;
    try {
      await api("/settings", { method: "PATCH", json: { stranger_rate: rate } });
      const words = `From now on ${oneIn(rate)} strangers may get a name`;
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
