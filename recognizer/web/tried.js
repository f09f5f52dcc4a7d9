// The photos that were shown on Try in this session. They survive a reload: this browser's storage keeps them until the session
// ends, the user has them forgotten, or a day has passed. Nothing is sent anywhere.

import { session } from "./api.js";

const NAME = "tried", STORE = "photos";
const MOST = 24;
const DAY = 86400e3;

let photos = [];
let loaded = null;
let next = 0;

/** The photos of this session and this tab, in the order in which they were added. */
export const all = () => photos.filter((photo) => photo.owner === owner());

export const find = (id) => all().find((photo) => photo.id === id);

const owner = () => session.key?.id ?? "";

/** What tells this tab's photos from those of others. */
const tab = (() => {
  try {
    const there = sessionStorage.getItem(NAME);
    if (there) return there;
    const fresh = crypto.getRandomValues(new Uint32Array(3)).join("-");
    sessionStorage.setItem(NAME, fresh);
    return fresh;
  } catch {
    return null; // storage is not available: photos stay in memory
  }
})();

/** Adds {blob, name} or {url}; returns it with its `id`. */
export function add(photo) {
  const added = { ...photo, id: `${Date.now().toString(36)}-${next++}`, tab, owner: owner(), time: Date.now() };
  photos.push(added);
  keep((store) => store.put(added));
  for (const old of all().slice(0, -MOST)) drop(old);
  return added;
}

function drop(photo) {
  photos = photos.filter((each) => each !== photo);
  keep((store) => store.delete(photo.id));
}

/** Forgets all photos of this tab. */
export function clear() {
  const mine = photos;
  photos = [];
  return keep((store) => mine.forEach((photo) => store.delete(photo.id)));
}

/** Reads what was kept before a reload, and erases what is old; once. */
export function load() {
  return (loaded ??= keep((store) => {
    const asked = store.getAll();
    asked.onsuccess = () => {
      const here = new Set(photos.map((photo) => photo.id));
      for (const photo of asked.result) {
        if (Date.now() - photo.time > DAY) store.delete(photo.id);
        else if (photo.tab === tab && !here.has(photo.id)) photos.push(photo);
      }
      photos.sort((one, other) => one.time - other.time);
    };
  }));
}

/** Runs `work` on the store; resolves also if there is none, since the photos are in memory as well. */
function keep(work) {
  if (tab === null) return Promise.resolve();
  return new Promise((resolve) => {
    let opening;
    try {
      opening = indexedDB.open(NAME, 1);
    } catch {
      return resolve();
    }
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id" });
    opening.onerror = opening.onblocked = () => resolve();
    opening.onsuccess = () => {
      const database = opening.result;
      const done = () => (database.close(), resolve());
      try {
        const change = database.transaction(STORE, "readwrite");
        change.oncomplete = change.onerror = change.onabort = done;
        work(change.objectStore(STORE));
      } catch {
        done();
      }
    };
  });
}
