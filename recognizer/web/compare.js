// Comparing two photos: are they of the same person? The words come first, then the numbers that they follow from.

import { announce, button, el, fill, icon, toast } from "./dom.js";
import { api, explain, told } from "./api.js";
import { snap } from "./camera.js";
import { listed, n, t } from "./i18n.js";
import { choose, dropzone, takesDrops, takesPastes } from "./photos.js";
import { pickFace, showPhoto } from "./pick.js";
import { scale, Stage } from "./stage.js";
import { CERTAINTY, distances, oneIn, verdict } from "./words.js";

/** The photos that are compared, for the session that opened them. */
let kept = [null, null];
export const forget = () => (kept = [null, null]);

export function showComparison(main, { signal, go }) {
  new Comparison(main, signal, go).draw();
}

class Comparison {
  constructor(main, signal, go) {
    Object.assign(this, { main, signal, go, asked: new AbortController() });
    signal.addEventListener("abort", () => this.asked.abort());
  }

  draw() {
    this.sides = [0, 1].map((index) => this.side(index));
    this.result = el("div", { class: "compare-result", role: "status" });
    takesPastes((files) => this.takeFiles(files), this.signal);
    takesDrops(this.main, (files) => this.takeFiles(files), this.signal);
    fill(
      this.main,
      el("a", { class: "back", href: "#/try" }, icon("back"), t("Try")),
      el("div", { class: "view-head" },
        el("div", null, el("h1", null, t("Is this the same person?")), el("p", null, t("The largest face of each photo counts. The photos stay on your server."))),
        el("div", { class: "row" }, button(t("Start again"), () => (forget(), this.sides.forEach((side) => side.clear()), this.look()), { icon: "undo" }))),
      el("div", { class: "compare" }, this.sides.map((side) => side.node)), this.result);
    this.sides.forEach((side, index) => kept[index] && side.show());
    this.look();
  }

  takeFiles(files, index = kept[0] && !kept[1] ? 1 : 0) {
    const [first, second, ...others] = files;
    if (second) [this.put(0, first), this.put(1, second)];
    else this.put(index, first);
    if (others.length) toast(n(others.length, "Only two photos are compared: {files} was not used.", "Only two photos are compared: {files} were not used.", { files: listed(others.map((file) => file.name)) }), { kind: "bad" });
    this.look();
  }

  put(index, file) {
    kept[index] = { file, original: file };
    this.sides[index].show();
  }

  side(index) {
    const what = index ? t("Second photo") : t("First photo");
    const place = el("div", { class: "compare-photo" });
    const take = (files) => this.takeFiles(files.slice(0, 2), index);
    const ways = () => [
      button(t("Choose"), () => choose(take), { icon: "upload", kind: "primary", "aria-label": index ? t("Choose the second photo") : t("Choose the first photo") }),
      button("", () => snap((file) => take([file])), { icon: "camera", label: index ? t("Second photo: use the camera") : t("First photo: use the camera") })];
    let stage = null;
    const clear = () => {
      stage?.close();
      stage = side.stage = null;
      fill(place, dropzone(what, t("Drop or paste a photo"), ...ways()));
    };
    const side = {
      node: el("section", { class: "compare-side", "aria-label": what }, place), clear, stage: null,
      show: () => {
        stage?.close();
        stage = side.stage = new Stage(() => {});
        const mine = kept[index];
        side.ready = showPhoto(stage, mine.file, this.signal);
        fill(place, stage.node, el("div", { class: "row" }, ways(), button(t("Another face"), () => this.pick(index), { "aria-label": index ? t("Second photo: compare another face") : t("First photo: compare another face") })));
      },
    };
    clear();
    return side;
  }

  /** Compares another face of a photo: only that face is sent. */
  async pick(index) {
    const { original } = kept[index];
    const picked = await pickFace(null, async () => original);
    if (!picked || this.signal.aborted) return;
    kept[index] = { file: new File([picked.portrait], "face.jpg", { type: "image/jpeg" }), original };
    this.sides[index].show();
    this.look();
  }

  async look() {
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    if (!kept[0] || !kept[1]) return void fill(this.result);
    fill(this.result, el("div", { class: "card row" }, el("div", { class: "spinner" }), el("span", null, t("Comparing..."))));
    const form = new FormData();
    form.set("file", kept[0].file, kept[0].file.name || "photo.jpg");
    form.set("other", kept[1].file, kept[1].file.name || "photo.jpg");
    try {
      const [found] = await Promise.all([api("/verify", { form, signal }), ...this.sides.map((side) => side.ready)]);
      if (!signal.aborted && !this.signal.aborted) this.tell(found);
    } catch (error) {
      if (error.name === "AbortError" || this.signal.aborted) return;
      fill(this.result, el("div", { class: "notice bad", role: "alert" }, icon("warning"), el("span", null, explain(error))));
    }
  }

  tell(found) {
    const { certainty, words } = verdict(found);
    this.sides.forEach(({ stage }, index) => {
      stage.show({ image: stage.size, faces: [{ box: found.faces[index].box, subject: t("Compared"), distance: found.distance }] });
      stage.boxes.forEach((box) => (box.disabled = true));
    });
    const crops = this.sides.map(({ stage }, index) => stage.crop(found.faces[index].box, 96));
    const remarks = found.faces.flatMap((face, index) => face.remarks.map((each) => `${index ? t("Second photo") : t("First photo")}: ${told(each)}`));
    fill(
      this.result,
      el("div", { class: "card stack" },
        el("div", { class: "row compare-said" }, el("span", { class: "pair" }, crops),
          el("div", null, el("span", { class: `tag ${{ sure: "good", likely: "", unsure: "warn" }[certainty]}` }, CERTAINTY[certainty]), el("h2", null, words))),
        remarks.map((each) => el("p", { class: "notice warn" }, icon("warning"), el("span", null, each))),
        scale({ ...found, subject: found.same }),
        el("dl", { class: "facts number" },
          el("dt", null, t("Distance")), el("dd", null, distances(found)),
          el("dt", null, t("Two different people are this similar")), el("dd", null, oneIn(found.false_match_rate)))),
    );
    this.result.scrollIntoView({ block: "nearest" }); // on a phone it is below the photos
    announce(`${CERTAINTY[certainty]}: ${words}`);
  }
}
