// Small choices that outlive a reload.

const PREFIX = "flowtape.";

/** The stored choice if it is one of `allowed`, else `fallback`. */
export function preference(name, allowed, fallback) {
  const value = localStorage.getItem(PREFIX + name);
  return allowed.includes(value) ? value : fallback;
}

/** The stored choice, whatever it is; null when there is none. */
export function remembered(name) {
  return localStorage.getItem(PREFIX + name);
}

export function setPreference(name, value) {
  localStorage.setItem(PREFIX + name, value);
}
