// Takes photos with the browser's camera.

import { button, dialog, el, fill } from "./dom.js";
import { n, t } from "./i18n.js";

const WHY = {
  NotAllowedError: t("This page is not allowed to use the camera. You can allow it from the browser's address bar."),
  NotFoundError: t("No camera was found on this device."),
  NotReadableError: t("The camera is in use by another program."),
};

/** Opens the camera in a dialog; `taken` is called with each photo as a File. With `several`, the dialog stays open. */
export async function snap(taken, several = false) {
  let stream;
  let count = 0;
  const video = el("video", { autoplay: true, playsinline: true, muted: true, class: "camera", "aria-label": t("Camera preview") });
  const words = el("p", { role: "status", class: "muted" }, t("Waiting for the camera..."));
  const shoot = async (close) => {
    const photo = await still(video);
    count += 1;
    words.textContent = n(count, "{count} photo taken", "{count} photos taken");
    taken(photo);
    if (!several) close();
  };
  const trigger = (close) => button(t("Take a photo"), () => shoot(close), { icon: "camera", kind: "primary", disabled: true, autofocus: true });
  let take;
  const open = async () => {
    try {
      if (!navigator.mediaDevices) throw new DOMException("", "Insecure");
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "user" } });
      if (!video.isConnected) return stop();
      video.srcObject = stream;
      await video.play();
      words.textContent = several ? t("Take a few photos: from the front and slightly from each side.") : "";
      take.disabled = false;
      take.focus();
    } catch (error) {
      const insecure = t("Browsers allow camera access only over HTTPS or on localhost.");
      fill(words, error.name === "Insecure" ? insecure : (WHY[error.name] ?? t("The camera cannot be used: {message}", { message: error.message })));
      words.setAttribute("role", "alert");
    }
  };
  const stop = () => stream?.getTracks().forEach((track) => track.stop());
  const done = dialog(
    t("Camera"),
    () => [video, words],
    (close) => [several && button(t("Done"), () => close()), (take = trigger(close))],
    { onclose: stop },
  );
  open();
  await done;
}

/** The current frame of a video as a JPEG file. */
async function still(video) {
  const canvas = el("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.jpg`, { type: "image/jpeg" });
}
