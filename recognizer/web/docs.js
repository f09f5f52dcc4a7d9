// The API reference: Swagger UI showing this server's OpenAPI document. Its requests are sent with the current session.

import { el, here } from "./dom.js";
import { refreshSession, session } from "./api.js";

const place = document.getElementById("docs");
const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = () => document.documentElement.classList.toggle("dark-mode", (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark");
colour();
dark.addEventListener("change", colour);

if (window.SwaggerUIBundle) {
  await refreshSession().catch(() => {});
  window.SwaggerUIBundle({
    url: here("/openapi.json"),
    domNode: place,
    presets: [window.SwaggerUIBundle.presets.apis],
    deepLinking: false, // it nests links in buttons, which keyboards and screen readers cannot separate
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
    el("div", { class: "empty" }, el("h1", null, "The API viewer is not installed"),
      el("p", null, "Download it together with the model weights: ", el("code", null, "python -m recognizer models fetch"), ". The OpenAPI document is available at ", el("a", { href: "/openapi.json" }, "/openapi.json"), ".")),
  );
}
