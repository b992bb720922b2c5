/**
 * The marks of cells that lie side by side, as a path for each state: a row of the chart costs few elements, and is painted
 * in a few strokes, whatever is in it.
 */
import { type State, states } from "../../fleet/rows.ts"
import { shapes } from "../../parts/shapes.ts"
import { type Drawn, inLine, type Marks, pitch, type Room } from "./cells.ts"

/** From the left edge of a cell to its first mark. */
const inset = 6

/** Half of the field of a shape, and the distance of two lines. */
const half = 6
const line = 15

const rounded = (value: number): number => Math.round(value * 100) / 100

/** A shape elsewhere: only what is written in capitals stands where it stands. */
const shifted = (path: string, x: number, y: number): string =>
  path.replace(/([MLH])([^a-z]*)/gi, (all, command: string, rest: string) =>
    !"MLH".includes(command)
      ? all
      : command + (rest.match(/-?\d*\.?\d+/g) ?? []).map((value, at) =>
        rounded(Number(value) + (command === "H" || at % 2 === 0 ? x : y))
      ).join(" "))

/** How much of the width of a cell its marks take. */
export const takenBy = ({ exceptions, healthy: [first] }: Marks): number =>
  exceptions.length * pitch.mark + (first === 0 ? 0 : 1 + first * pitch.tick)

/** `left`: where a cell begins; `middle`: half of the height that they have. */
export const pathsOf = (
  cells: ReadonlyArray<{ readonly marks: Marks; readonly left: number }>,
  room: Room,
  drawn: Drawn,
  middle: number
): ReadonlyArray<{ readonly state: State; readonly path: string }> => {
  const paths = new Map<State, string>()
  const add = (state: State, path: string) => paths.set(state, (paths.get(state) ?? "") + path)
  for (const { left, marks: { exceptions, healthy: [first, next] } } of cells) {
    const start = left + inset
    const columns = drawn === "dots" ? inLine(room) : Infinity
    const all = exceptions.length + (drawn === "dots" ? first + next : 0)
    const top = middle - (Math.max(1, Math.ceil(all / columns)) - 1) * line / 2
    const place = (index: number) => {
      const row = drawn === "dots" ? Math.floor(index / columns) : 0
      return { x: start + (index - (row === 0 ? 0 : row * columns)) * pitch.mark, y: top + row * line }
    }
    exceptions.forEach(({ state }, index) => {
      const { x, y } = place(index)
      add(state, shifted(shapes[state].path, x, y - half))
    })
    if (drawn === "dots") {
      // One dashed line in each line, each dash of which is an instance.
      for (const [from, many] of [[exceptions.length, first], [exceptions.length + first, next]] as const) {
        const { x, y } = place(from)
        if (many > 0) add("healthy", `M${x + half} ${y}H${x + many * pitch.mark - 1}`)
      }
    } else if (first > 0) {
      const { x, y } = place(exceptions.length)
      add("healthy", `M${x + 1} ${y}H${x + first * pitch.tick}`)
    }
  }
  return states.flatMap((state) => {
    const path = paths.get(state)
    return path === undefined ? [] : [{ state, path }]
  })
}
