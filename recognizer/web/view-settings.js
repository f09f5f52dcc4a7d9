// Settings: how the server is.

import { el } from "./dom.js";
import { api } from "./api.js";

export const title = "Settings";

export async function show(main, { signal }) {
  main.append(el("div", { class: "view-head" }, el("h1", null, "Settings")));
  const health = await api("/health", { signal });
  const facts = [
    ["Engine", health.engine.id],
    ["Threshold", health.threshold],
    ["People", health.counts.subjects],
    ["Photos that are compared with", health.counts.templates],
  ];
  main.append(el("div", { class: "card" }, el("dl", { class: "facts" }, facts.map(([name, value]) => [el("dt", null, name), el("dd", null, String(value))]))));
}
