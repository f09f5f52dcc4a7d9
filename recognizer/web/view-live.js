// Live: the cameras and what they see.

import { el, empty } from "./dom.js";
import { api } from "./api.js";

export const title = "Live";

export async function show(main, { signal }) {
  main.append(el("div", { class: "view-head" }, el("h1", null, "Live")));
  const { cameras } = await api("/cameras", { signal });
  if (!cameras.length) return void main.append(empty("live", "No camera yet", "Whoever runs this server can add one."));
  for (const camera of cameras) {
    const picture = el("img", { src: `/cameras/${encodeURIComponent(camera.id)}/stream?width=960`, alt: `What ${camera.name} sees` });
    signal.addEventListener("abort", () => picture.removeAttribute("src"));
    main.append(el("figure", { class: "card stack" }, picture, el("figcaption", null, camera.name)));
  }
}
