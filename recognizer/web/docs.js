// The API reference: Swagger UI with the document of this server. Requests that are tried there go as whoever is signed in.

import { el } from "./dom.js";
import { refreshSession, session } from "./api.js";

const place = document.getElementById("docs");
const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = () => document.documentElement.classList.toggle("dark-mode", (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark");
colour();
dark.addEventListener("change", colour);

if (window.SwaggerUIBundle) {
  await refreshSession().catch(() => {});
  window.SwaggerUIBundle({
    url: "/openapi.json",
    domNode: place,
    presets: [window.SwaggerUIBundle.presets.apis],
    deepLinking: false, // its links stand inside buttons, which keyboards and screen readers cannot tell apart
    validatorUrl: null,
    tryItOutEnabled: false,
    defaultModelsExpandDepth: 0,
    requestInterceptor: (request) => {
      if (session.csrf && request.method !== "GET") request.headers["X-CSRF-Token"] = session.csrf;
      return request;
    },
  });
} else {
  place.append(
    el("div", { class: "empty" }, el("h1", null, "The viewer is not installed"),
      el("p", null, "The server fetches it with its weights: ", el("code", null, "python -m recognizer models fetch"), ". What it would show is in ", el("a", { href: "/openapi.json" }, "/openapi.json"), ".")),
  );
}
