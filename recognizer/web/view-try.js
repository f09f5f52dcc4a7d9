import { el } from "./dom.js";

export const title = "Try";

export async function show(main) {
  main.append(el("h1", null, "Try"));
}
