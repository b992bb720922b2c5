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

/** A shape in pieces: what is the same wherever it stands, and its places, which aren't. */
type Piece = string | { readonly along: "x" | "y"; readonly value: number }

/** Only what is written in capitals stands where it stands. */
const piecesOf = (path: string): ReadonlyArray<Piece> =>
  (path.match(/[a-z][^a-z]*/gi) ?? []).flatMap((step): ReadonlyArray<Piece> => {
    const command = step.charAt(0)
    if (!"MLH".includes(command)) return [step]
    return [
      command,
      ...(step.match(/-?\d*\.?\d+/g) ?? []).flatMap((value, at): ReadonlyArray<Piece> => [
        ...at === 0 ? [] : [" "],
        { along: command === "H" || at % 2 === 0 ? "x" : "y", value: Number(value) }
      ])
    ]
  })

const pieces = new Map(states.map((state) => [state, piecesOf(shapes[state].path)]))

/** The shape of a state elsewhere. */
const shapeAt = (state: State, x: number, y: number): string => {
  let path = ""
  for (const piece of pieces.get(state) ?? []) {
    path += typeof piece === "string" ? piece : rounded(piece.value + (piece.along === "x" ? x : y))
  }
  return path
}

type Paths = ReadonlyMap<State, string>

/** `left`: where the cell begins; `middle`: half of the height that it has. */
const pathsOfCell = (
  { exceptions, healthy: [first, next] }: Marks,
  left: number,
  room: Room,
  drawn: Drawn,
  middle: number
): Paths => {
  const paths = new Map<State, string>()
  const add = (state: State, path: string) => paths.set(state, (paths.get(state) ?? "") + path)
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
    add(state, shapeAt(state, x, y - half))
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
  return paths
}

/** Of cells that didn't change, what was made of them last. */
const known = new WeakMap<Marks, { readonly left: number; readonly middle: number; readonly paths: Paths }>()

/** Of cells that lie side by side; `left` and `middle` as of one. */
export const pathsOf = (
  cells: ReadonlyArray<{ readonly marks: Marks; readonly left: number }>,
  room: Room,
  drawn: Drawn,
  middle: number
): ReadonlyArray<{ readonly state: State; readonly path: string }> => {
  const each = cells.map(({ left, marks }) => {
    const before = known.get(marks)
    if (before?.left === left && before.middle === middle) return before.paths
    const paths = pathsOfCell(marks, left, room, drawn, middle)
    known.set(marks, { left, middle, paths })
    return paths
  })
  return states.flatMap((state) => {
    const path = each.map((paths) => paths.get(state) ?? "").join("")
    return path === "" ? [] : [{ state, path }]
  })
}
