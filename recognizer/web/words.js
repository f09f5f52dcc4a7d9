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
