// Converts numbers and codes of the API to text.

import { decimal, language, number, percent, t } from "./i18n.js";
import { REFUSALS } from "./refusals.js";

/** Names of the quality problems of a face. */
export const REMARKS = {
  small: t("small"), blurred: t("blurred"), flat: t("low contrast"), turned: t("turned away"), cut_off: t("cut off by the edge of the photo"),
  doubtful: t("possibly not a face"), on_its_side: t("on its side"), upside_down: t("upside down"), negative: t("looks like a negative"),
  few_tones: t("few tones"), distorted: t("stretched or bent"), uneven: t("one half dark or covered"), unusual: t("unlike a plain photo"),
};

/** What may be asked about how faces look, in the order in which it is said. */
export const ATTRIBUTES = [["age", t("Age")], ["gender", t("Gender")], ["expression", t("Expression")]];

const SILENT = { ...REMARKS, not_comparable: t("not comparable"), under_13: t("not said of children"), uncertain: t("uncertain"), undecided: t("not decided yet") };

const VALUES = {
  female: t("female"), male: t("male"), neutral: t("neutral"), happy: t("happy"), sad: t("sad"), angry: t("angry"), fearful: t("fearful"),
  disgusted: t("disgusted"), surprised: t("surprised"),
};

/** How a face looks: pairs of a title and what is said, or why nothing is. */
export function looks(attributes) {
  return ATTRIBUTES.filter(([name]) => name in attributes).map(([name, words]) => {
    const said = attributes[name];
    if (!said) return [words, (attributes.reasons[name] ?? []).map((code) => SILENT[code] ?? code).join(", "), false];
    if (name === "age") return [words, t("{low} to {high} years", { low: said.low, high: said.high }), true];
    return [words, `${VALUES[said.value] ?? said.value}${t(", ")}${percent(said.probability)}`, true];
  });
}

/** The lowest rate that the server reports. */
const LEAST = 1e-8;

/** A rate as text: 1.6e-7 is "1 in 6.3 million". */
export function oneIn(rate) {
  if (rate === null || rate === undefined) return t("unknown");
  if (rate <= LEAST) return t("less than 1 in {many}", { many: large(1 / LEAST) });
  const many = 1 / rate;
  if (many < 1.5) return t("more than 1 in {many}", { many: 2 });
  if (many >= 1e6) return t("1 in {many}", { many: large(many) });
  return t("1 in {many}", { many: Math.round(many >= 100 ? Number(many.toPrecision(2)) : many) });
}

/** "6.2 million". */
const large = (value) => number(value, { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 2 });

/** Returns a function from the id of a camera, listed or removed, to its name, given a reply of GET /cameras. */
export function cameraNames({ cameras, removed = [] }) {
  const names = new Map([["default", t("Camera")], ...[...removed, ...cameras].map((each) => [each.id, each.name])]);
  return (id) => names.get(id) ?? id;
}

export const bytes = (count) => (count < 1e6 ? t("{size} kB", { size: Math.max(1, Math.round(count / 1e3)) }) : t("{size} MB", { size: decimal(count / 1e6, 1) }));

/** Quotes a text as one word for a POSIX shell. */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The text of a warning about an enrolled photo. */
export function warning(found) {
  if (found.code === "looks_like_another") return t("Looks like {name}", { name: found.subject });
  if (found.code === "unlike_others") return t("Differs from the other photos");
  if (found.code === "duplicate_of") return t("Duplicate of another photo");
  return language === "en" ? found.message : (REFUSALS[found.code] ?? found.message);
}

/** "0.74 (match below 1.29)"; with more digits if the distance is as close to the threshold as that. */
export function distances({ distance, threshold }) {
  const digits = distance.toFixed(2) === threshold.toFixed(2) ? 4 : 2;
  return t("{distance} (match below {threshold})", { distance: decimal(distance, digits), threshold: decimal(threshold, digits) });
}

/** The words for how sure it is. */
export const CERTAINTY = { sure: t("sure"), likely: t("likely"), unsure: t("unsure") };

/** How sure it is that a face is of the person whose name it got; null if it got none. */
export function certainty(face) {
  if (!face.subject) return null;
  if (face.ambiguous) return "unsure";
  return face.false_match_rate !== null && face.false_match_rate <= SURE ? "sure" : "likely";
}

/** Of pairs of different people, the share that is as similar as a pair about which the page is sure; and the shares from which
 *  on two faces are probably, and surely, of different people. */
const SURE = 1e-5, PROBABLY_DIFFERENT = 0.01, DIFFERENT = 0.2;

/** What a reply of POST /verify means: {certainty, words}. */
export function verdict({ same, comparable, false_match_rate: rate }) {
  if (!comparable || rate === null) return { certainty: "unsure", words: t("This cannot be told from these photos") };
  if (same) return rate <= SURE ? { certainty: "sure", words: t("The same person") } : { certainty: "likely", words: t("Probably the same person") };
  if (rate <= PROBABLY_DIFFERENT) return { certainty: "unsure", words: t("Perhaps the same person, perhaps not") };
  return rate < DIFFERENT ? { certainty: "likely", words: t("Probably two different people") } : { certainty: "sure", words: t("Two different people") };
}
