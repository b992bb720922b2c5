/**
 * The terminal that a person looks at: its colours, its width, and a line that comes and goes.
 */
import * as CliOutput from "effect/cli/CliOutput"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { stripVTControlCharacters, styleText } from "node:util"

export type Style = Parameters<typeof styleText>[0]

/** Colours by the rules that help goes by too: NO_COLOR, FORCE_COLOR, TERM=dumb, and whether this is a terminal. */
const { canColor } = Context.get(Context.empty(), TerminalCapabilities.TerminalCapabilities)

/** Text in a colour, where colours are shown. */
export const paint = (style: Style, text: string): string =>
  canColor ? styleText(style, text, { validateStream: false }) : text

/** Columns that a text takes. */
export const widthOf = CliOutput.displayWidth

const segmenter = new Intl.Segmenter()

/** The text in lines of at most this width, as far as its words allow. */
export const wrapped = (text: string, width: number): ReadonlyArray<string> => {
  const [first = "", ...words] = text.split(" ")
  const lines = [first]
  for (const word of words) {
    const line = `${lines.at(-1)} ${word}`
    if (widthOf(line) <= width) lines[lines.length - 1] = line
    else if (word !== "") lines.push(word)
  }
  return lines.map((line) => line.trimEnd())
}

/** The text, or its beginning and `…` where it is wider than this. */
export const cut = (text: string, width: number): string => {
  if (widthOf(text) <= width) return text
  let result = ""
  let taken = 0
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) {
    taken += widthOf(segment)
    if (taken > width - 1) break
    result += segment
  }
  return `${result.trimEnd()}…`
}

/**
 * Somebody else's text as one line: without control characters, which would reach the terminal. The joiners stay that
 * make one character of several.
 */
export const plain = (text: string): string =>
  stripVTControlCharacters(text).replace(/(?:(?![\u200c\u200d])[\p{Cc}\p{Cf}])+/gu, " ")

/** Says something beside the output of the command, which may go into a pipe. */
export const note = (text: string): Effect.Effect<void> => Effect.sync(() => console.error(paint("dim", plain(text))))

/** A line on standard error about work under way. */
export interface ProgressLine {
  readonly say: (text: string) => void
  /** Takes the line away, until something is said again: before other output. */
  readonly clear: () => void
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
/** What is done sooner shows nothing. */
const delay = 200

/**
 * Opens a progress line for the life of the scope. On a terminal it is one line that changes and goes in the end;
 * elsewhere nothing, or with `plain` one line for each text.
 */
export const progressLine = (
  options: { readonly plain?: boolean } = {}
): Effect.Effect<ProgressLine, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const { stderr } = process
        if (!stderr.isTTY || process.env["TERM"] === "dumb") {
          let said: string | undefined
          return {
            say: (text: string) => {
              const line = plain(text)
              if (options.plain === true && line !== said) console.error(line)
              said = line
            },
            clear: () => {},
            close: () => {}
          }
        }
        const start = Date.now()
        let text = ""
        let shown = false
        const clear = () => {
          if (shown) stderr.write("\r\u001b[2K")
          shown = false
        }
        const timer = setInterval(() => {
          const since = Date.now() - start
          if (text === "" || since < delay) return
          const frame = frames[Math.floor(since / 80) % frames.length] ?? ""
          stderr.write(`\r\u001b[2K${cut(`${frame} ${text}`, Math.max(10, stderr.columns - 1))}`)
          shown = true
        }, 80)
        return {
          say: (next: string) => {
            text = plain(next)
          },
          clear: () => {
            text = ""
            clear()
          },
          close: () => {
            clearInterval(timer)
            clear()
          }
        }
      }),
      (line) => Effect.sync(line.close)
    ),
    ({ clear, say }) => ({ clear, say })
  )

/** Runs the effect with a progress line that says this. */
export const during = <A, E, R>(text: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.scoped(Effect.flatMap(progressLine(), (line) => {
    line.say(text)
    return effect
  }))
