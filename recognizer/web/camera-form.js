// Adding, changing and removing cameras.

import { button, confirm, dialog, el, icon, toast, toggle } from "./dom.js";
import { api, explain } from "./api.js";

const ABOUT_SOURCE = {
  invalid_source: true, address_refused: true,
};
const KINDS = [
  ["Network camera", "rtsp://user:password@192.168.1.20/stream", "The address that the camera's manual or app gives: rtsp, rtmp, http or https."],
  ["Webcam at the server", "0", "Its number, from 0 on: a camera that is plugged into the machine that runs this server."],
  ["Video file", "entrance.mp4", "A file or a folder of photos below the folder that RECOGNIZER_CAMERA_FILES names."],
  ["Test pattern", "test:", "Moving bars with the time in them, to try things without a camera."],
];

/** Add a camera, or change `camera`. Resolves with what the server holds then, or undefined. */
export function editCamera(camera = null) {
  const source = el("input", { id: "camera-source", autocomplete: "off", spellcheck: "false", autocapitalize: "off", required: !camera, "aria-describedby": "camera-source-help camera-source-error" });
  const name = el("input", { id: "camera-name", autocomplete: "off", maxlength: "100", value: camera?.name ?? "", placeholder: "Front door", "aria-describedby": "camera-name-error" });
  const wrongSource = el("p", { id: "camera-source-error", class: "field-error", role: "alert" });
  const wrongName = el("p", { id: "camera-name-error", class: "field-error", role: "alert" });
  const help = el("p", { id: "camera-source-help", class: "muted small" });
  let always = camera?.always ?? false;
  const choose = ([, example, words]) => {
    source.placeholder = camera ? camera.source : example;
    help.textContent = camera ? `${words} Leave it empty to keep the present one.` : words;
    if (example === "test:" || source.value === "test:") source.value = example === "test:" ? "test:" : "";
  };
  const kind = el(
    "select", { id: "camera-kind", on: { change: () => (choose(KINDS[kind.value]), source.focus()) } },
    KINDS.map(([words], place) => el("option", { value: String(place) }, words)),
  );
  kind.value = String(camera ? Math.max(0, ["", "device", "file", "pattern"].indexOf(camera.kind)) : 0);
  choose(KINDS[kind.value]);
  if (camera) source.value = "";
  let save;
  const send = async (close) => {
    wrongSource.textContent = wrongName.textContent = "";
    if (!camera && !source.value.trim()) {
      wrongSource.textContent = "Say where its pictures come from.";
      return source.focus();
    }
    save.disabled = true;
    const said = { name: name.value.trim() || undefined, source: source.value.trim() || undefined, always };
    try {
      close(camera ? await api(`/cameras/${encodeURIComponent(camera.id)}`, { method: "PATCH", json: said }) : await api("/cameras", { json: said }));
    } catch (error) {
      const [place, field] = ABOUT_SOURCE[error.code] || /^source/.test(error.message) ? [wrongSource, source] : [wrongName, name];
      place.textContent = error.code === "address_refused" ? `${explain(error).split(" The server fetches")[0]} RECOGNIZER_CAMERA_ALLOW says where cameras may be.` : explain(error);
      field.setAttribute("aria-invalid", "true");
      field.focus();
    } finally {
      save.disabled = false;
    }
  };
  return dialog(
    camera ? `Change ${camera.name}` : "Add a camera",
    (close) => {
      const form = el(
        "form", { class: "stack", novalidate: true },
        el("div", { class: "field" }, el("label", { for: "camera-kind" }, "What is it?"), kind),
        el("div", { class: "field" }, el("label", { for: "camera-source" }, "Where its pictures come from"), source, help, wrongSource),
        el("div", { class: "field" }, el("label", { for: "camera-name" }, "Name"), name, wrongName),
        el("div", { class: "field" }, toggle("Keep it running while nobody watches", always, (on) => (always = on)), el("p", { class: "muted small" }, "Who comes and goes is told only while a camera runs.")),
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), send(close)));
      form.append(el("button", { type: "submit", hidden: true, tabindex: "-1", "aria-hidden": "true" }));
      return form;
    },
    (close) => [button("Cancel", () => close()), (save = button(camera ? "Save" : "Add", () => send(close), { kind: "primary" }))],
  );
}

/** Ask, then remove; resolves with whether it is gone. */
export async function removeCamera(camera) {
  const text = el("div", { class: "stack" }, el("p", null, "It is stopped and taken from the list. Who was seen there stays in the timeline until it is too old."), el("p", { class: "row" }, icon("camera"), el("code", null, camera.source)));
  if (!(await confirm(`Remove ${camera.name}?`, text, "Remove"))) return false;
  try {
    await api(`/cameras/${encodeURIComponent(camera.id)}`, { method: "DELETE" });
    toast(`${camera.name} is removed`);
    return true;
  } catch (error) {
    toast(explain(error), { kind: "bad" });
    return error.code === "camera_not_found";
  }
}
