// The audit log section of Settings.

import { button, el, fill } from "./dom.js";
import { api, explain } from "./api.js";
import { mixed, number, t } from "./i18n.js";
import { ROLES } from "./keys.js";
import { REFUSALS } from "./refusals.js";
import { exactly, moment, when } from "./times.js";

const PAGE = 30;
/** Actions in words; one of a newer server is shown as the API calls it. */
const ACTIONS = {
  enroll: t("Photo enrolled"), rename: t("Renamed"), merge: t("Merged"), consent: t("Consent changed"),
  describe: t("Tags or cover changed"), move_photo: t("Photo moved"), bin_put: t("Moved to the bin"), bin_restore: t("Restored from the bin"),
  export: t("Exported"), delete_photo: t("Photo deleted"), delete_file: t("File deleted"), delete: t("Erased"),
  camera_add: t("Camera added"), camera_change: t("Camera changed"), camera_remove: t("Camera removed"), camera_settings: t("Camera settings changed"),
  key_add: t("Key created"), key_revoke: t("Key revoked"), key_refused: t("Key refused"), setting_change: t("Setting changed"),
  receiver_test: t("Test event sent"), rule_add: t("Rule added"), rule_change: t("Rule changed"), rule_remove: t("Rule removed"),
  rule_test: t("Rule tested"), stranger_join: t("Strangers joined"), stranger_split: t("Stranger split"), stranger_dismiss: t("Stranger dismissed"),
  visit_name: t("Visit corrected"), archive_folder_add: t("Archive folder added"), archive_folder_remove: t("Archive folder removed"), archive_name: t("Named in the archive"),
  archive_undo: t("Archive decision undone"), sign_in: t("Signed in"), sign_out: t("Signed out"), backup: t("Backup made"),
  restore: t("Backup restored"),
  damaged_file_delete: t("Damaged file deleted"), group_add: t("Group added"), group_delete: t("Group deleted"), job_add: t("Job added"),
  job_delete: t("Job deleted"), push_add: t("Browser added"), push_remove: t("Browser removed"), push_test: t("Notification tested"),
  archive_refuse: t("Name refused in the archive"), archive_hide: t("Hidden in the archive"), archive_join: t("Joined in the archive"), archive_apart: t("Told apart in the archive"),
  archive_move: t("Face moved in the archive"), archive_no_face: t("Marked as no face"), archive_import_names: t("Names imported"), archive_export_names: t("Names exported"),
  database_load: t("Database loaded"), database_dump: t("Database dumped"),
};

/** Details of an action in words; others are shown as the API calls them. */
const DETAILS = {
  backup: t("of the backup"), bin: t("from the bin"), browser: t("browser"), camera: t("camera"), count: t("number"), does: t("action"), expires: t("expires"),
  face: t("face"), faces: t("faces"), file: t("file"), files: t("files"), folder: t("folder"), force: t("despite doubts"), group: t("group"), groups: t("groups"),
  into: t("into"), job: t("job"), key: t("key"), kind: t("kind"), names: t("names"), never: t("for good"), no_face: t("no face"), note: t("note"), operation: t("operation"),
  other: t("other"), people: t("people"), photo: t("photo"), photos: t("photos"), reasons: t("reasons"), receiver: t("receiver"), replaced: t("replaced"), role: t("role"),
  rule: t("rule"), setting: t("setting"), stranger: t("stranger"), to: t("to", { context: "person" }), value: t("value"), without: t("without"),
};
/** Who acted, in words: by what the API writes before the colon. */
const ACTORS = {
  local: () => t("this machine"), retention: () => t("end of retention"), folder: () => t("change in the folder"), key: (name) => t("key {name}", { name }),
  cli: (name) => t("command line, {name}", { name }), address: (name) => t("address {name}", { name }),
};

export function auditSection(signal) {
  const list = el("ul", { class: "audit", "aria-label": t("Audit log entries, newest first") });
  const foot = el("div");
  const node = el("section", { class: "card stack", "aria-labelledby": "audit-title" }, el("h2", { id: "audit-title" }, t("Audit log")),
    el("p", { class: "muted" }, mixed("Every change, with the person it concerns and the key that made it. Entries are hash-chained; check them for tampering with {command}.", { command: el("code", null, "python -m recognizer audit verify") })), list, foot);

  async function load(before = null) {
    try {
      const { lines } = await api("/audit", { query: { limit: PAGE, before }, signal });
      list.append(...lines.reverse().map(row));
      const oldest = lines.at(-1)?.seq;
      fill(foot, !list.children.length && el("p", { class: "muted" }, t("No entries yet.")), lines.length === PAGE && button(t("Show earlier entries"), () => load(oldest), { class: "little" }));
    } catch (error) {
      if (error.name !== "AbortError") fill(foot, el("p", { class: "field-error", role: "alert" }, explain(error)));
    }
  }

  return { node, ready: load() };
}

function row(line) {
  const time = moment(line.time);
  const details = Object.entries(line.details ?? {}).map(([name, value]) => `${DETAILS[name] ?? name.replaceAll("_", " ")} ${valueWords(name, value)}`).join(t(", "));
  const [kind, ...rest] = line.actor.split(":");
  const actor = ACTORS[kind]?.(rest.join(":")) ?? line.actor;
  return el(
    "li", null, el("time", { class: "muted small number", datetime: line.time, title: exactly(time) }, when(time)),
    el("span", { class: "audit-what" }, el("strong", { title: line.action }, ACTIONS[line.action] ?? line.action.replaceAll("_", " ")), (line.name || line.subject) && [" ", el("bdi", null, line.name ?? line.subject)], details && el("span", { class: "muted" }, " ", el("bdi", null, `(${details})`))),
    el("span", { class: "muted small", title: line.actor }, actor),
  );
}

function valueWords(name, value) {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? t("yes") : t("no");
  if (name === "role") return ROLES[value]?.[0] ?? value;
  if (name === "reasons") return Object.entries(value).map(([code, count]) => `${(REFUSALS[code] ?? code).replace(/[.。]$/, "")} × ${number(count)}`).join(t(", "));
  return typeof value === "object" ? JSON.stringify(value) : value;
}
