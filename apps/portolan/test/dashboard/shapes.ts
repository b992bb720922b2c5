/**
 * What the states look like to whoever sees no colours, or not all of them.
 */
import type { Page } from "playwright-core"

/** Each glyph of the legend as black on white, by its word: 24 × 24 bits. */
export const shapes = async (
  page: Page,
  deficiency: "achromatopsia" | "deuteranopia"
): Promise<Readonly<Record<string, string>>> => {
  const devtools = await page.context().newCDPSession(page)
  await devtools.send("Emulation.setEmulatedVisionDeficiency", { type: deficiency })
  const legend = page.getByRole("list", { name: "Legend" })
  const picture = await legend.screenshot()
  const places = await legend.getByRole("listitem").evaluateAll((items) => {
    const origin = items[0]?.parentElement?.getBoundingClientRect()
    return items.map((item) => {
      const { height, width, x, y } = item.querySelector("svg").getBoundingClientRect()
      return { state: item.textContent.trim(), x: x - origin.x, y: y - origin.y, width, height }
    })
  })
  return await page.evaluate<Readonly<Record<string, string>>>(`(async () => {
    const image = new Image()
    image.src = "data:image/png;base64,${picture.toString("base64")}"
    await image.decode()
    const scale = devicePixelRatio
    return Object.fromEntries(${JSON.stringify(places)}.map(({ height, state, width, x, y }) => {
      const canvas = new OffscreenCanvas(24, 24).getContext("2d")
      canvas.drawImage(image, x * scale, y * scale, width * scale, height * scale, 0, 0, 24, 24)
      const { data } = canvas.getImageData(0, 0, 24, 24)
      const light = Array.from({ length: 576 }, (_, at) => data[at * 4] + data[at * 4 + 1] + data[at * 4 + 2])
      const middle = (Math.min(...light) + Math.max(...light)) / 2
      return [state, light.map((value) => value < middle ? 1 : 0).join("")]
    }))
  })()`)
}
