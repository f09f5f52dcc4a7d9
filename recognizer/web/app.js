// The page's frame: list of views, routing, sign-in, and the light and dark themes.
//
// How a view is written. A view is a module with
//
//     export const title = "People";
//     export async function show(main, context) { ... }
//
// and an entry in VIEWS below; one that is `within` another has no tab. `show` receives an empty <main> and fills it with `el` (dom.js), starting with an <h1>. It
// may be called again at any time, so it must not keep state outside the call (but for the photos that Try shows after "Back"
// and "Forward", and for an import). `context` has
//
//     parts    the parts of the address after the view's name: ["Joe Biden"] for #/people/Joe%20Biden
//     signal   aborted when the user leaves the view: pass it to api() and addEventListener(), and stop timers and streams
//     go(...)  shows another view: go("people", name)
//     again()  shows this view again
//
// Every text that people read is translatable: t("...") or n(count, "...", "..."), see i18n.js; a test fails otherwise.
// Helpers: dom.js (el, svg, fill, icon, button, toggle, empty, toast, announce, dialog, confirm, copy), i18n.js (t, n, mixed, number), api.js
// (api, link, personPath, may, session, explain), photos.js (dropping, choosing and pasting files), camera.js (the
// browser's camera). If `show` throws, the error's message is shown instead of the view. Later errors, for example after
// a click, must be reported by the view: `catch (error) { toast(explain(error), { kind: "bad" }); }`.
// Never use HTML strings; the Content-Security-Policy forbids inline code: no innerHTML, style="..." or onclick="...".
// app.css defines the spacing, type and colour tokens, and has one section of rules per view.

import { announce, button, confirm, el, fill, here, icon, toast } from "./dom.js";
import { encodingBar, endActivity, followActivity, lookedAtStrangers } from "./activity.js";
import { chooseLanguage, justChosen, language, LANGUAGES, t } from "./i18n.js";
import { reportDrop } from "./photos.js";
import { renewSubscription } from "./notify.js";
import { ApiError, explain, may, refreshSession, session, signIn, signOut, whenSignedOut } from "./api.js";

const VIEWS = [
  { name: "try", label: t("Try"), icon: "face", role: "read", load: () => import("./view-try.js") },
  { name: "people", label: t("People"), icon: "people", role: "read", load: () => import("./view-people.js") },
  { name: "live", label: t("Live"), icon: "live", role: "read", load: () => import("./view-live.js") },
  { name: "strangers", label: t("Strangers"), icon: "stranger", role: "write", load: () => import("./view-strangers.js") },
  { name: "archive", label: t("Archive"), icon: "image", role: "read", load: () => import("./view-archive.js") },
  { name: "import", within: "people", role: "write", load: () => import("./view-import.js") },
  { name: "rules", within: "live", role: "admin", load: () => import("./view-rules.js") },
  { name: "settings", label: t("Settings"), icon: "settings", role: "read", load: () => import("./view-settings.js") },
];

const main = document.getElementById("main");
let leave = new AbortController();
let shown = 0;

export const address = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

function wanted() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decode);
  const view = VIEWS.find((each) => each.name === parts[0] && may(each.role));
  return view ? { view, parts: parts.slice(1) } : { view: VIEWS.find((each) => may(each.role)), parts: [] };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function route(first = false) {
  if (!session.role) return askForKey();
  const { view, parts } = wanted();
  const mine = ++shown;
  mark(view);
  if (view.name === "strangers") lookedAtStrangers();
  let module;
  try {
    module = await view.load();
  } catch {
    if (mine === shown) trouble(t("This view could not be loaded"), t("The server may have been updated."), t("Reload the page"), () => location.reload());
    return;
  }
  if (mine !== shown) return;
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const go = (...to) => (location.hash = address(...to));
  document.title = `${module.title} · Recognizer`;
  main.className = `view-${view.name}`;
  fill(main);
  window.scrollTo(0, 0);
  try {
    const begun = module.show(main, { parts, signal, go, again: () => route() });
    if (!first) focusHeading();
    await begun;
    if (document.activeElement === main && mine === shown) focusHeading();
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (!(error instanceof ApiError)) console.error(error);
    if (error.code === "starting") return waitForStart(error, signal);
    if (error.status !== 401) trouble(t("Something went wrong"), explain(error), t("Try again"), () => route());
  }
}

/** Moves the focus of the keyboard and of screen readers to the new view's heading. */
function focusHeading() {
  const heading = main.querySelector("h1");
  if (!heading) return main.focus({ preventScroll: true });
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function trouble(title, text, action, click) {
  fill(main, el("div", { class: "empty", role: "alert" }, icon("warning"), el("h1", null, title), el("p", null, text), button(action, click, { kind: "primary" })));
}

function waitForStart(error, signal) {
  fill(main, el("div", { class: "empty", role: "status" }, el("div", { class: "spinner" }), el("h1", null, t("The server is starting")), el("p", null, explain(error)), error.details?.encoding && encodingBar(error.details.encoding)));
  setTimeout(() => signal.aborted || boot(), 1000);
}

// -- sign-in ------------------------------------------------------------------------------------------------------

function askForKey(said = "") {
  leave.abort();
  leave = new AbortController();
  shown++;
  endActivity();
  document.title = `${t("Sign in")} · Recognizer`;
  main.className = "view-sign-in";
  frame();
  const key = el("input", {
    id: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false",
    placeholder: "rk_...", "aria-describedby": "key-help key-error",
  });
  const problem = el("p", { id: "key-error", class: "field-error", role: "alert" }, said);
  const submit = el("button", { class: "button primary", type: "submit" }, icon("key"), el("span", null, t("Sign in")));
  const form = el(
    "form",
    { class: "card sign-in" },
    el("h1", null, t("Sign in")),
    el("p", { id: "key-help", class: "muted" }, t("This server requires a key. Its administrator can create one:"), " ", el("code", null, "python -m recognizer keys add NAME")),
    el("label", { for: "key" }, t("Key")),
    key,
    problem,
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await signIn(key.value.trim());
      frame();
      await route();
    } catch (error) {
      problem.textContent = explain(error);
      key.setAttribute("aria-invalid", "true");
      key.select();
    } finally {
      submit.disabled = false;
    }
  });
  fill(main, form);
  key.focus();
}

whenSignedOut((error) => {
  if (!session.role) return;
  session.role = null;
  askForKey(explain(error));
});

// -- the header ---------------------------------------------------------------------------------------------------

function mark(view) {
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === (view.within ?? view.name)) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
}

function frame() {
  if (session.role) {
    followActivity();
    renewSubscription();
  }
  const tabs = VIEWS.filter((view) => may(view.role) && !view.within);
  fill(
    document.querySelector(".tabs"),
    tabs.map((view) => el("a", { href: address(view.name), data: { view: view.name } }, icon(view.icon), el("span", null, view.label))),
  );
  const leaving = async () => {
    const { currentImport } = await import("./importing.js");
    const job = currentImport();
    if (job?.unfinished && !(await confirm(t("Sign out?"), t("The list of photos that are to be added is discarded."), t("Sign out")))) return;
    try {
      await signOut();
      job?.discard();
      const [tried, compared] = await Promise.all([import("./tried.js"), import("./compare.js")]);
      await Promise.all([tried.clear(), compared.forget()]);
      askForKey();
      announce(t("You have signed out"));
    } catch (error) {
      toast(explain(error), { kind: "bad" });
    }
  };
  fill(
    document.querySelector(".tools"),
    el("a", { class: "button quiet api-link", href: "/docs" }, icon("code"), el("span", null, "API")),
    languageChooser(),
    themeButton(),
    session.csrf && button("", leaving, { icon: "out", kind: "quiet", label: t("Sign out {name}", { name: session.key.name }) }),
  );
}

/** A chooser that looks like the other buttons: the browser's own list opens at the icon. */
function languageChooser() {
  const offered = document.documentElement.dataset.languages.split(" ");
  const choice = el("select", { "aria-label": t("Language"), title: t("Language"), on: { change: () => chooseLanguage(choice.value) } },
    offered.map((name) => el("option", { value: name, lang: name }, LANGUAGES[name])));
  choice.value = language;
  return el("span", { class: "button quiet only-icon language" }, icon("globe"), choice);
}

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

function themeButton() {
  const turn = () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // storage is not available: the theme is kept until the page is closed
    }
    fresh.replaceWith(themeButton());
    document.querySelector(".theme").focus();
  };
  const fresh = button("", turn, { icon: isDark() ? "sun" : "moon", kind: "quiet", class: "theme", label: isDark() ? t("Light theme") : t("Dark theme") });
  return fresh;
}

system.addEventListener("change", () => document.querySelector(".theme")?.replaceWith(themeButton()));

// -- start --------------------------------------------------------------------------------------------------------

async function boot() {
  try {
    await refreshSession();
  } catch (error) {
    return trouble(t("The server cannot be reached"), explain(error), t("Try again"), boot);
  }
  frame();
  await route(true);
  if (justChosen()) document.querySelector(".language select")?.focus();
  keepPage();
}

/** Lets the browser keep the page's files (service-worker.js), where it can: over HTTPS and on this machine. */
function keepPage() {
  if (!navigator.serviceWorker) return;
  const script = new URL("service-worker.js", import.meta.url).href;
  let allowed = script;
  try {
    allowed = window.trustedTypes?.createPolicy("shell", { createScriptURL: () => script }).createScriptURL("") ?? script;
  } catch {
    return; // it was made before, by an attempt that failed
  }
  navigator.serviceWorker.register(allowed, { scope: here("/") }).catch(() => {}); // the page works without
}

document.querySelector(".skip").textContent = t("Skip to content");
document.querySelector(".brand").setAttribute("aria-label", t("Recognizer home"));
document.querySelector(".tabs").setAttribute("aria-label", t("Views"));
window.addEventListener("hashchange", () => location.hash !== "#main" && route());
document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), main.focus()));
// A file dropped outside a drop zone must not navigate away from the page. Text can be dropped into fields.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => {
    const files = event.dataTransfer?.types.includes("Files");
    if (event.defaultPrevented || (!files && event.target.closest?.("input, textarea"))) return;
    event.preventDefault();
    if (name === "drop" && files) reportDrop(event.dataTransfer);
  });
}
boot();
