import { el } from "./dom.js";

export const title = "People";

export async function show(main) {
  main.append(el("h1", null, "People"));
}
