// Before the first paint: the theme that the reader chose here. It is no module, for modules run after the page was painted.
try {
  const theme = localStorage.getItem("switchboard:theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden: the system's preference holds.
}
