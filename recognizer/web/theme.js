// Applies the stored theme and the language before the first paint. A classic script, so that the page does not flash.
(() => {
  const html = document.documentElement;
  let theme = null;
  let chosen = null;
  try {
    theme = localStorage.getItem("theme");
    chosen = localStorage.getItem("language");
  } catch {
    // storage is not available: use the system's theme and the browser's language
  }
  if (theme === "light" || theme === "dark") html.dataset.theme = theme;
  const languages = html.dataset.languages?.split(" ");
  if (!languages) return; // this page has one language
  const wanted = [chosen, ...(navigator.languages ?? [])].filter(Boolean).map((each) => each.toLowerCase().split("-")[0]);
  html.lang = wanted.find((each) => languages.includes(each)) ?? "en";
  html.dir = html.lang === "ar" ? "rtl" : "ltr";
})();
