// Numbers and codes of the API as words.

/** What is wrong with the picture of a face. */
export const REMARKS = {
  small: "small", blurred: "blurred", flat: "too dark or too pale", turned: "turned away", cut_off: "partly outside the photo",
  doubtful: "perhaps no face",
};

/** The lowest share that the server tells. */
const LEAST = 1e-8;

/** A share of pairs as people say it: 1.6e-7 is "one in 6 million". */
export function oneIn(rate) {
  if (rate === null || rate === undefined) return "not known";
  if (rate <= LEAST) return "fewer than one in 100 million";
  const many = 1 / rate;
  if (many < 1.5) return "nearly every one";
  if (many >= 1e6) return `one in ${rounded(many / 1e6)} million`;
  return `one in ${Math.round(many >= 100 ? Number(many.toPrecision(2)) : many).toLocaleString("en")}`;
}

const rounded = (value) => (value < 10 ? Number(value.toFixed(1)) : Math.round(Number(value.toPrecision(2)))).toLocaleString("en");

export const bytes = (count) => (count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(1)} MB`);

/** A text as one word of a POSIX shell. */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** What a warning about an enrolled photo says. */
export function warning(found) {
  if (found.code === "looks_like_another") return `Looks like ${found.subject}`;
  if (found.code === "unlike_others") return "Unlike the other photos";
  if (found.code === "duplicate_of") return "The same picture as another";
  return found.message;
}
