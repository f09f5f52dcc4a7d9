// Converts numbers and codes of the API to text.

/** Names of the quality problems of a face. */
export const REMARKS = {
  small: "small", blurred: "blurred", flat: "low contrast", turned: "turned away", cut_off: "cut off by the edge of the photo",
  doubtful: "possibly not a face",
};

/** What may be asked about how faces look, in the order in which it is said. */
export const ATTRIBUTES = [["age", "Age"], ["gender", "Gender"], ["expression", "Expression"]];

const SILENT = { ...REMARKS, not_comparable: "not comparable", under_13: "not said of children", uncertain: "uncertain", undecided: "not decided yet" };

/** How a face looks: pairs of a title and what is said, or why nothing is. */
export function looks(attributes) {
  return ATTRIBUTES.filter(([name]) => name in attributes).map(([name, words]) => {
    const said = attributes[name];
    if (!said) return [words, (attributes.reasons[name] ?? []).map((code) => SILENT[code] ?? code).join(", "), false];
    if (name === "age") return [words, `${said.low} to ${said.high} years`, true];
    return [words, `${said.value}, ${Math.round(100 * said.probability)} %`, true];
  });
}

/** The lowest rate that the server reports. */
const LEAST = 1e-8;

/** A rate as text: 1.6e-7 is "1 in 6.3 million". */
export function oneIn(rate) {
  if (rate === null || rate === undefined) return "unknown";
  if (rate <= LEAST) return "less than 1 in 100 million";
  const many = 1 / rate;
  if (many < 1.5) return "more than 1 in 2";
  if (many >= 1e6) return `1 in ${rounded(many / 1e6)} million`;
  return `1 in ${Math.round(many >= 100 ? Number(many.toPrecision(2)) : many).toLocaleString("en")}`;
}

const rounded = (value) => (value < 10 ? Number(value.toFixed(1)) : Math.round(Number(value.toPrecision(2)))).toLocaleString("en");

/** Returns a function from the id of a camera, listed or removed, to its name, given a reply of GET /cameras. */
export function cameraNames({ cameras, removed = [] }) {
  const names = new Map([["default", "Camera"], ...[...removed, ...cameras].map((each) => [each.id, each.name])]);
  return (id) => names.get(id) ?? id;
}

export const bytes = (count) => (count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(1)} MB`);

/** Quotes a text as one word for a POSIX shell. */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The text of a warning about an enrolled photo. */
export function warning(found) {
  if (found.code === "looks_like_another") return `Looks like ${found.subject}`;
  if (found.code === "unlike_others") return "Differs from the other photos";
  if (found.code === "duplicate_of") return "Duplicate of another photo";
  return found.message;
}

/** "0.74 (match below 1.29)"; with more digits if the distance is as close to the threshold as that. */
export function distances({ distance, threshold }) {
  const digits = distance.toFixed(2) === threshold.toFixed(2) ? 4 : 2;
  return `${distance.toFixed(digits)} (match below ${threshold.toFixed(digits)})`;
}

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
  if (!comparable || rate === null) return { certainty: "unsure", words: "This cannot be told from these photos" };
  if (same) return rate <= SURE ? { certainty: "sure", words: "The same person" } : { certainty: "likely", words: "Probably the same person" };
  if (rate <= PROBABLY_DIFFERENT) return { certainty: "unsure", words: "Perhaps the same person, perhaps not" };
  return rate < DIFFERENT ? { certainty: "likely", words: "Probably two different people" } : { certainty: "sure", words: "Two different people" };
}
