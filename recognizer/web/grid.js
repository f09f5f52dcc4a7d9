// A virtualised grid: only cards near the viewport are in the DOM, and their data is loaded in pages.

import { el } from "./dom.js";

const PAGE = 200;
const SPARE_ROWS = 3;
const PAUSE = 60;
/** Scrolling by more rows than this per frame is too fast to read; cards stay blank until it slows down. */
const TOO_FAST = 1.5;

/** `load(offset, limit)` resolves with {total, items}; `card(item)` returns the element of an item, `blank()` a placeholder
 *  for an item that is not loaded yet. Cards are at least `least` pixels wide, and `below` pixels higher than wide. */
export class Grid {
  constructor({ load, card, blank, least, below, gap, signal, label }) {
    Object.assign(this, { load, card, blank, least, below, gap });
    this.node = el("div", { class: "grid", role: "list", "aria-label": label });
    this.cards = new Map();
    this.pages = new Map();
    this.total = 0;
    this.lines = 0;
    const soon = () => (this.frame ??= requestAnimationFrame(() => ((this.frame = null), this.draw())));
    window.addEventListener("scroll", soon, { signal, passive: true });
    this.watch = new ResizeObserver(() => (this.measure(), soon()));
    this.watch.observe(this.node);
    signal.addEventListener("abort", () => this.watch.disconnect());
  }

  /** Reloads everything from `load`. */
  async reset() {
    const round = (this.round = (this.round ?? 0) + 1);
    const first = await this.load(0, PAGE);
    if (round !== this.round) return null;
    this.pages = new Map([[0, first.items]]);
    this.total = first.total;
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.measure();
    this.draw();
    return first;
  }

  measure() {
    const width = this.node.clientWidth;
    if (!width) return;
    const columns = Math.max(2, Math.floor((width + this.gap) / (this.least + this.gap)));
    const side = (width - (columns - 1) * this.gap) / columns;
    if (columns !== this.columns || side !== this.side) for (const card of this.cards.values()) card.remove(), (card.stale = true);
    if (columns !== this.columns || side !== this.side) this.cards.clear();
    Object.assign(this, { columns, side, row: side + this.below + this.gap });
    this.node.style.setProperty("height", `${Math.max(0, Math.ceil(this.total / columns) * this.row - this.gap)}px`);
  }

  draw() {
    if (!this.row || !this.node.isConnected) return;
    const above = -this.node.getBoundingClientRect().top;
    const fast = Math.abs(above - (this.above ?? above)) > TOO_FAST * this.row;
    this.above = above;
    if (fast) this.settle();
    const first = Math.max(0, Math.floor(above / this.row) - SPARE_ROWS) * this.columns;
    const last = Math.min(this.total, (Math.ceil((above + window.innerHeight) / this.row) + SPARE_ROWS) * this.columns);
    for (const [index, card] of this.cards) {
      if ((index < first || index >= last) && !card.contains(document.activeElement)) {
        card.remove();
        this.cards.delete(index);
      }
    }
    const fresh = [];
    const missing = new Set();
    for (let index = first; index < last; index++) {
      const item = this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
      const there = this.cards.get(index);
      if (!item) missing.add(Math.floor(index / PAGE));
      if (there && (there.filled || !item || fast)) continue;
      const card = this.place(el("div", { class: "cell", role: "listitem", "aria-posinset": index + 1, "aria-setsize": this.total }, item && !fast ? this.card(item) : this.blank()), index);
      card.filled = Boolean(item) && !fast;
      if (there) there.replaceWith(card);
      else fresh.push(card);
      this.cards.set(index, card);
    }
    this.node.append(...fresh);
    if (missing.size) this.fetch();
  }

  /** Draws again when scrolling has stopped. */
  settle() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.draw(), PAUSE);
  }

  place(card, index) {
    const [column, line] = [index % this.columns, Math.floor(index / this.columns)];
    const onward = document.dir === "rtl" ? -1 : 1;
    card.style.setProperty("width", `${this.side}px`);
    card.style.setProperty("height", `${this.side + this.below}px`);
    card.style.setProperty("transform", `translate(${onward * column * (this.side + this.gap)}px, ${line * this.row}px)`);
    return card;
  }

  /** Loads the visible pages once scrolling has paused. */
  fetch() {
    clearTimeout(this.rest);
    this.rest = setTimeout(async () => {
      const wanted = new Set([...this.cards].map(([index]) => Math.floor(index / PAGE)));
      const round = this.round;
      await Promise.all(
        [...wanted].filter((page) => !this.pages.has(page)).map(async (page) => {
          this.pages.set(page, null);
          try {
            const { items } = await this.load(page * PAGE, PAGE);
            if (round === this.round) this.pages.set(page, items);
          } catch {
            if (round === this.round) this.pages.delete(page);
          }
        }),
      );
      if (round === this.round) this.draw();
    }, PAUSE);
  }
}
