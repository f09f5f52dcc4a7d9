// Applies the stored theme before the first paint. A classic script, so that the page does not flash.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // storage is not available: use the system's theme
}
