/**
 * Names as parts of a path. A dot or two are steps in one, however they are encoded: such names have a `~` before them.
 */

const dots = /^~*\.{1,2}$/

/** The path of the page of one of a list: `/instances/weather-1`. */
export const pathOf = (list: "services" | "instances" | "tools", name: string): string =>
  `/${list}/${encodeURIComponent(dots.test(name) ? `~${name}` : name)}`

/** The name that a part of a path stands for. What isn't percent-encoded as it should be is taken as it stands. */
export const nameOf = (segment: string): string => {
  try {
    const name = decodeURIComponent(segment)
    return dots.test(name) ? name.replace("~", "") : name
  } catch {
    return segment
  }
}
