// The page in the reader's language.
//
// How a text is written. The English text is the key:
//
//     t("Add a person")
//     t("{name} was removed", { name })                          a number is written as the language does
//     t("Name", { context: "verb" })                             one word in English, two in other languages
//     n(count, "{count} photo", "{count} photos")                 with the plural forms of the language
//     n(count, "{count} photo of {name}", "{count} photos of {name}", { name })
//     phrase("there is no host {name}")                         for what the server says in English, see reasons.js
//     mixed("Add a folder with {command}.", { command: el("code", null, "...") })   for nodes inside a text
//
// The first arguments are literals, since a test reads them: tests/test_languages.py fails if a text is not in every catalogue,
// and if a text that people read is none of these. Sentences are whole: never joined from parts, since the order of words differs.
// Translations are in <language>.json beside this file, in the format i18next JSON v4: the plural forms of "{count} photos" are
// "{count} photos_one", "{count} photos_other" and so on, as Intl.PluralRules names them. One catalogue is loaded, before any view.
// The language is chosen by theme.js before the first paint; choosing another one loads the page again.

const html = document.documentElement;

/** The languages of the page, by the names that they call themselves. */
export const LANGUAGES = {
  en: "English", de: "Deutsch", fr: "Français", es: "Español", pt: "Português", ar: "العربية", ja: "日本語", zh: "简体中文",
};

let words = {};
if (html.lang !== "en") {
  try {
    const reply = await fetch(new URL(`${html.lang}.json`, import.meta.url), { credentials: "same-origin" });
    if (!reply.ok) throw new Error(reply.statusText);
    words = await reply.json();
  } catch {
    Object.assign(html, { lang: "en", dir: "ltr" }); // the page works in English rather than not at all
  }
}

/** The language that is shown, such as "de". */
export const language = html.lang;

const RIGHT_TO_LEFT = html.dir === "rtl";

/** For Intl: the browser's own variant of the language, such as "pt-BR". Arabic has the digits that figures of the API have. */
export const locale = localeOf(language, navigator.languages ?? []);

function localeOf(chosen, offered) {
  if (chosen === "en") return "en-GB";
  const own = offered.find((each) => each.toLowerCase().split("-")[0] === chosen) ?? chosen;
  return chosen === "ar" ? `${own.split("-u-")[0]}-u-nu-latn-ca-gregory` : own;
}

const RULES = new Intl.PluralRules(language);
const NUMBERS = new Intl.NumberFormat(locale);
const LIST = new Intl.ListFormat(locale, { type: "conjunction" });

/** A number as the language writes it. */
export const number = (value, options) => (options ? new Intl.NumberFormat(locale, options) : NUMBERS).format(value);

/** A number with as many digits after the decimal point. */
export const decimal = (value, digits) => number(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** "a, b and c" as the language writes it. */
export const listed = (items) => LIST.format(items);

/** A share from 0 to 1 as a percentage. */
export const percent = (share, digits = 0) => number(share, { style: "percent", maximumFractionDigits: digits });

/** A text of the page; `values` replace its places in braces. `context` tells apart what is one word in English only. */
export const t = (text, values) => put((values?.context && words[`${text}_${values.context}`]) ?? words[text] ?? text, values);

/** A text with a count, which replaces {count}. */
export function n(count, one, many, values) {
  const found = words[`${many}_${RULES.select(count)}`] ?? words[`${many}_other`] ?? (count === 1 ? one : many);
  return put(found, { count, ...values });
}

/** A text with nodes in its places: an array of strings and nodes, as `el` takes them. */
export function mixed(text, values) {
  return (words[text] ?? text).split(/(\{\w+\})/).filter(Boolean).map((part) => (/^\{\w+\}$/.test(part) ? shown(values[part.slice(1, -1)]) : part));
}

/** Puts a text that the server writes in English into the reader's language, with what the text has in its places; null for others. */
export function phrase(text) {
  const names = [];
  const pattern = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{(\w+)\}/g, (place, name) => (names.push(name), "(.+)"));
  const whole = new RegExp(`^${pattern}$`);
  return (said) => {
    const found = whole.exec(said);
    return found && put(words[text] ?? text, Object.fromEntries(names.map((name, i) => [name, found[i + 1]])));
  };
}

function put(text, values) {
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole)) : text;
}

const shown = (value) => (typeof value === "number" ? number(value) : isolated(value));

/** Names may run the other way than the text around them: they are isolated, so that they do not change its order. */
export const isolated = (value) => (RIGHT_TO_LEFT && typeof value === "string" ? `\u2068${value}\u2069` : value);

/** Shows the page in another language from now on. */
export function chooseLanguage(name) {
  try {
    localStorage.setItem("language", name);
    sessionStorage.setItem("language-chosen", name);
  } catch {
    // storage is not available: the browser's language stays
  }
  location.reload();
}

/** Whether the page was loaded because the reader chose its language: asked once, to keep the place of the keyboard. */
export function justChosen() {
  try {
    const chosen = sessionStorage.getItem("language-chosen");
    sessionStorage.removeItem("language-chosen");
    return chosen !== null;
  } catch {
    return false;
  }
}
