// Before the first paint, so that the page doesn't flash in the other theme.
try {
  const theme = localStorage.getItem("portolan.theme")
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme
} catch {
  // A browser that keeps nothing shows its own theme.
}
