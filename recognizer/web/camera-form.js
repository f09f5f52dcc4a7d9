// Dialogs for adding, editing and removing cameras.

import { button, confirm, dialog, el, icon, toast, toggle } from "./dom.js";
import { api, explain, told } from "./api.js";
import { t } from "./i18n.js";

const ABOUT_SOURCE = {
  invalid_source: true, address_refused: true,
};
const KINDS = [
  [t("Network camera"), "rtsp://user:password@192.168.1.20/stream", t("The stream URL from the camera's manual or app: rtsp, rtmp, http or https.")],
  [t("Webcam on the server"), "0", t("The device number, starting at 0, of a camera connected to the server.")],
  [t("Video file"), "entrance.mp4", t("A video file or a folder of photos inside the folder set by RECOGNIZER_CAMERA_FILES.")],
  [t("Test pattern"), "test:", t("Moving bars and a clock, for testing without a camera.")],
];

/** Adds a camera, or edits `camera`. With `mayBeDefault` it can be made the default camera, if there is none. Resolves with the
 *  camera as stored on the server, or undefined. */
export function editCamera(camera = null, mayBeDefault = false) {
  let asDefault = false;
  const source = el("input", { id: "camera-source", autocomplete: "off", spellcheck: "false", autocapitalize: "off", required: !camera, "aria-describedby": "camera-source-help camera-source-error" });
  const name = el("input", { id: "camera-name", autocomplete: "off", maxlength: "100", value: camera?.name ?? "", placeholder: t("Front door"), "aria-describedby": "camera-name-error" });
  const wrongSource = el("p", { id: "camera-source-error", class: "field-error", role: "alert" });
  const wrongName = el("p", { id: "camera-name-error", class: "field-error", role: "alert" });
  const help = el("p", { id: "camera-source-help", class: "muted small" });
  let always = camera?.always ?? false;
  const choose = ([, example, words]) => {
    source.placeholder = camera ? camera.source : example;
    help.textContent = camera ? `${words} ${t("Leave empty to keep the current source.")}` : words;
    if (example === "test:" || source.value === "test:") source.value = example === "test:" ? "test:" : "";
  };
  const kind = el(
    "select", { id: "camera-kind", on: { change: () => (choose(KINDS[kind.value]), source.focus()) } },
    KINDS.map(([words], place) => el("option", { value: String(place) }, words)),
  );
  kind.value = String(camera ? Math.max(0, ["", "device", "file", "pattern"].indexOf(camera.kind)) : 0);
  choose(KINDS[kind.value]);
  if (camera) source.value = "";
  /** Whether the source is an IP address without a scheme; the server's message would be about file names. */
  const noScheme = (error) => error.code === "invalid_source" && /^\d+(\.\d+){3}([:/]|$)/.test(source.value.trim());
  let save;
  const send = async (close) => {
    wrongSource.textContent = wrongName.textContent = "";
    if (!camera && !source.value.trim()) {
      wrongSource.textContent = t("Enter a source.");
      return source.focus();
    }
    save.disabled = true;
    const said = { name: name.value.trim() || undefined, source: source.value.trim() || undefined, always };
    try {
      const id = camera?.id ?? (asDefault ? "default" : null);
      close(id ? await api(`/cameras/${encodeURIComponent(id)}`, { method: "PATCH", json: said }) : await api("/cameras", { json: said }));
    } catch (error) {
      const [place, field] = ABOUT_SOURCE[error.code] || /^source/.test(error.message) ? [wrongSource, source] : [wrongName, name];
      place.textContent = error.code === "address_refused" ? told(error) : noScheme(error) ? t("Enter a full URL, for example {url}", { url: `rtsp://${source.value.trim().replace(/^[^/]+$/, "$&/stream")}` }) : explain(error);
      field.setAttribute("aria-invalid", "true");
      field.focus();
    } finally {
      save.disabled = false;
    }
  };
  return dialog(
    camera ? t("Edit {name}", { name: camera.name }) : t("Add a camera"),
    (close) => {
      const form = el(
        "form", { class: "stack", novalidate: true },
        el("div", { class: "field" }, el("label", { for: "camera-kind" }, t("Type")), kind),
        el("div", { class: "field" }, el("label", { for: "camera-source" }, t("Source")), source, help, wrongSource),
        el("div", { class: "field" }, el("label", { for: "camera-name" }, t("Name")), name, wrongName),
        mayBeDefault && el("div", { class: "field" }, toggle(t("Make it the default camera"), false, (on) => (asDefault = on)), el("p", { class: "muted small" }, t("The default camera is the one that other programs get at {path}.", { path: "/stream" }))),
        el("div", { class: "field" }, toggle(t("Keep running while nobody is watching"), always, (on) => (always = on)), el("p", { class: "muted small" }, t("Visits are recorded only while the camera is running."))),
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), send(close)));
      form.append(el("button", { type: "submit", hidden: true, tabindex: "-1", "aria-hidden": "true" }));
      return form;
    },
    (close) => [button(t("Cancel"), () => close()), (save = button(camera ? t("Save") : t("Add"), () => send(close), { kind: "primary" }))],
  );
}

/** Asks for confirmation, then removes a camera; resolves with true if it was removed. */
export async function removeCamera(camera) {
  const text = el("div", { class: "stack" }, el("p", null, t("The camera is stopped and removed from the list. Its visits stay in the timeline until they expire.")), el("p", { class: "row" }, icon("camera"), el("code", null, camera.source)));
  if (!(await confirm(t("Remove {name}?", { name: camera.name }), text, t("Remove")))) return false;
  try {
    await api(`/cameras/${encodeURIComponent(camera.id)}`, { method: "DELETE" });
    toast(t("{name} was removed", { name: camera.name }));
    return true;
  } catch (error) {
    toast(explain(error), { kind: "bad" });
    return error.code === "camera_not_found";
  }
}
