// The face picker: shows a photo of several people, and asks which face is meant.

import { button, dialog, el, fill, icon } from "./dom.js";
import { api, explain } from "./api.js";
import { n, t } from "./i18n.js";
import { Stage } from "./stage.js";

/** Shows a photo, also one that the browser cannot decode: then as decoded by the server. */
export async function showPhoto(stage, photo, signal) {
  if (await stage.load(photo)) return;
  const query = { min_face: 100000, format: "jpeg" }; // larger than any face: a picture without boxes
  await stage.load(await api("/detect", { body: photo, query, accept: "image/jpeg", signal }));
}

/** Asks which face of a photo is `name`'s, or is to be compared if that is null. `open()` resolves with the photo as a Blob.
 *  Resolves with {face, portrait}: `face` is the box as POST /enroll takes it, `portrait` a JPEG of the face alone. Resolves with
 *  null if none was chosen. */
export async function pickFace(name, open) {
  const asked = new AbortController();
  const stage = new Stage((index) => stage.mark(index));
  const said = el("p", { class: "muted", role: "status" }, t("Detecting faces..."));
  let picked = null;
  const body = (close) => {
    const load = async () => {
      const photo = await open();
      const [, found] = await Promise.all([showPhoto(stage, photo, asked.signal), api("/recognize", { body: photo, query: { top_k: 1 }, signal: asked.signal })]);
      stage.show(found);
      const { faces } = found;
      const counted =
        name === null
          ? n(faces.length, "{count} face found. Choose the one to compare.", "{count} faces found. Choose the one to compare.")
          : n(faces.length, "{count} face found. Choose the one that is {name}'s.", "{count} faces found. Choose the one that is {name}'s.", { name });
      said.textContent = faces.length ? counted : t("No face was found on this photo.");
      stage.boxes.forEach((box, index) => {
        box.classList.add("to-pick");
        box.addEventListener("click", async () => {
          const { left, top, right, bottom } = faces[index].box;
          picked = { face: [left, top, right, bottom].join(","), portrait: await stage.portrait(faces[index].box) };
          close(true);
        });
      });
      stage.boxes[0]?.focus();
    };
    load().catch((error) => error.name === "AbortError" || fill(said, el("span", { class: "notice bad" }, icon("warning"), el("span", null, explain(error)))));
    return [said, stage.node];
  };
  await dialog(name === null ? t("Which face is to be compared?") : t("Which face is {name}'s?", { name }), body, (close) => [button(t("Cancel"), () => close())], { wide: true, onclose: () => (asked.abort(), stage.close()) });
  return picked;
}
