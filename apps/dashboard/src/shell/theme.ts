/**
 * Light, dark, or what the system says. `public/theme.js` puts it on before the first paint.
 */
import { keep } from "./kept.ts"

export type Theme = "system" | "light" | "dark"

export const themes: ReadonlyArray<Theme> = ["system", "light", "dark"]

export const theme = (): Theme =>
  themes.find((theme) => theme === document.documentElement.dataset["theme"]) ?? "system"

export const setTheme = (theme: Theme): void => {
  if (theme === "system") delete document.documentElement.dataset["theme"]
  else document.documentElement.dataset["theme"] = theme
  keep("theme", theme === "system" ? undefined : theme)
}
