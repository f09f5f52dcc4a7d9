// The group of people that the views People and Add many people show. It is kept for the tab.

import { el, icon } from "./dom.js";
import { api } from "./api.js";
import { t } from "./i18n.js";

const KEY = "group";
const PATHS = /^\/(people|enroll|bin|unsorted)(\/|$)/;
const VIEWS = /^#\/(people|import)/;
export const DEFAULT = "default";

/** The group that is shown; null for known_faces itself. */
export const currentGroup = () => sessionStorage.getItem(KEY);

/** The query of a request, with the group for those that are about people of a group. */
export function inGroup(path, query) {
  const group = currentGroup();
  return group && VIEWS.test(location.hash) && PATHS.test(path) && !query?.group ? { ...query, group } : query;
}

/** A choice of the group; null where there is only one. `changed` is called after a change. */
export async function groupSwitch(signal, changed) {
  const { groups } = await api("/groups", { signal });
  const names = groups.map((each) => each.name);
  if (currentGroup() && !names.includes(currentGroup())) sessionStorage.removeItem(KEY); // it was deleted
  if (groups.length < 2) return null;
  const field = el("select", { "aria-label": t("Group") }, groups.map((each) => el("option", { value: each.name }, each.default ? t("Everybody (known_faces)") : each.name)));
  field.value = currentGroup() ?? DEFAULT;
  field.addEventListener("change", () => {
    if (field.value === DEFAULT) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, field.value);
    changed();
  });
  return el("div", { class: "with-icon group-switch" }, icon("people"), field);
}
