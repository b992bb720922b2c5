/**
 * A person with a keyboard and nothing else.
 */
import { assert } from "@effect/vitest"
import type { Locator, Page } from "playwright-core"

/** What shows where the focus is: an outline, a shadow, or the same of what surrounds or covers it. */
const marked = `(() => {
  const at = document.activeElement
  if (at === null || at === document.body) return "nothing has the focus"
  const shown = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none"
  const around = [at, ...at.matches("main, h1, h2") ? [] : [at.closest("label"), at.closest("td, th"), at.closest("tr")]]
  const ok = at.matches("main, h1, h2, dialog") || around.some((element) => element !== null && element !== undefined &&
    [undefined, "::after", "::before"].some((part) => shown(getComputedStyle(element, part))))
  return ok ? "" : at.outerHTML.slice(0, 200)
})()`

/** Fails where nothing has the focus, or nobody could see what has. */
export const assertSeen = async (page: Page): Promise<void> =>
  assert.strictEqual(await page.evaluate<string>(marked), "", "the focus can't be seen")

export const hasFocus = (target: Locator): Promise<boolean> =>
  target.evaluate((element) => element.ownerDocument.activeElement === element)

/** Presses Tab until it is there; fails after `most` times. */
export const tabTo = async (page: Page, target: Locator, most = 80): Promise<void> => {
  await target.waitFor()
  for (let pressed = 0; pressed < most; pressed++) {
    if (await hasFocus(target)) return
    await page.keyboard.press("Tab")
    await assertSeen(page)
  }
  assert.fail(`${most} times Tab don't lead to ${target}`)
}
