/**
 * The fenced blocks of Markdown pages, so that tests can run them.
 *
 * **Details**: what a block is for stands in a comment on the line before it, or follows from its language:
 * - `<!-- file: NAME -->` (or `# NAME` in its first line): it is a file of this name beside the blocks after it;
 * - `<!-- not run: REASON -->`: it can't be run; a program is type-checked all the same;
 * - a block without a language right after a program is what that prints.
 *
 * @since 0.1.0
 */
import * as Program from "@portolan/tooling/Program"
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Where Node keeps what it compiled of what programs import, which is the same for most. */
const compiled = join(root, "docs/node_modules/.cache/programs")

/**
 * A fenced block.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snippet {
  /** Line of its fence, from 1. */
  readonly line: number
  /** Empty where the fence names none. */
  readonly language: string
  readonly code: string
  /** The file that it is, if it is one. */
  readonly file: string | undefined
  /** Whether the file is wrong on purpose, to show what is told of it. */
  readonly mistaken: boolean
  /** Why it isn't run, where it isn't. */
  readonly notRun: string | undefined
  /** What it prints, where that is shown. */
  readonly output: string | undefined
}

/**
 * A command of a console block, and what it prints.
 *
 * @category models
 * @since 0.1.0
 */
export interface Command {
  readonly command: string
  readonly output: string
}

const fence = /^```(\w*)\n([^]*?)^```$/gm

/**
 * Reads all blocks of a page.
 *
 * @category constructors
 * @since 0.1.0
 */
export const read = (page: string): ReadonlyArray<Snippet> => {
  const text = readFileSync(page, "utf8")
  const blocks = Array.from(text.matchAll(fence), (match) => {
    const [whole, language = "", code = ""] = match
    return { start: match.index, end: match.index + whole.length, language, code }
  })
  return blocks.flatMap((block, index) => {
    const next = blocks[index + 1]
    const before = text.slice(0, block.start).trimEnd().split("\n").at(-1) ?? ""
    const mark = /^<!-- (file|not run): (.*?)( \(with mistakes\))? -->$/.exec(before)
    const named = /^(?:#|\/\/) ([\w.-]+\.(?:yaml|json))$/m.exec(block.code.split("\n")[0] ?? "")
    const isOutput = isProgram(blocks[index - 1]) && block.language === "" &&
      text.slice(blocks[index - 1]?.end, block.start).trim().split("\n").length <= 1
    if (isOutput) return []
    return [{
      line: text.slice(0, block.start).split("\n").length,
      language: block.language,
      code: block.code,
      file: mark?.[1] === "file" ? mark[2] : named?.[1],
      mistaken: mark?.[3] !== undefined,
      notRun: mark?.[1] === "not run" ? mark[2] : undefined,
      output: isProgram(block) && next?.language === "" &&
          text.slice(block.end, next.start).trim().split("\n").length <= 1
        ? next.code
        : undefined
    }]
  })
}

/**
 * Whether it is a program.
 *
 * @category guards
 * @since 0.1.0
 */
export const isProgram = (block: { readonly language: string } | undefined): boolean =>
  block !== undefined && ["ts", "js"].includes(block.language)

/**
 * Whether it is commands with their output, as a terminal shows them.
 *
 * @category guards
 * @since 0.1.0
 */
export const isConsole = ({ code, language }: Snippet): boolean =>
  ["", "console", "sh"].includes(language) && /^\$ /m.test(code)

/**
 * The commands of a console block.
 *
 * @category accessors
 * @since 0.1.0
 */
export const commands = ({ code }: Snippet): ReadonlyArray<Command> =>
  code.split(/^\$ /m).slice(1).map((part) => {
    const [command = "", ...output] = part.replace(/\\\n/g, "").split("\n")
    return { command: command.replace(/\s+# .*$/, "").trim(), output: output.join("\n").trim() }
  })

/**
 * Whether a program printed what a page shows: the same lines, of which numbers, spaces and `--url` may differ; `…` stands for
 * anything in a line, and in a line of its own for any number of lines.
 *
 * @category guards
 * @since 0.1.0
 */
const matches = (shown: string, printed: string): boolean => {
  const lines = (text: string) =>
    text.trim().split("\n").map((line) =>
      line.replace(/ --url http:\S+/, "").replace(/\d+(\.\d+)?/g, "#").replace(/\s+/g, " ").trim()
    )
  const pattern = lines(shown).map((line) =>
    line === "…" ? "(?:.*\\n)*" : `${line.split("…").map(RegExp.escape).join(".*")}\\n`
  ).join("")
  return new RegExp(`^${pattern}$`).test(`${lines(printed).join("\n")}\n`)
}

/**
 * The program as a file to type-check: one that isn't run and is a part of one (it says so, or imports nothing of effect)
 * comes after the program before it on its page, and after the parts in between.
 *
 * @category accessors
 * @since 0.1.0
 */
export const whole = (snippets: ReadonlyArray<Snippet>, snippet: Snippet): string => {
  const isPart = ({ code, notRun }: Snippet) =>
    notRun !== undefined && (notRun.startsWith("part of a program") || !/from "effect/.test(code))
  if (!isPart(snippet)) return snippet.code
  const before = snippets.filter((other) => isProgram(other) && other.file === undefined && other.line <= snippet.line)
  const parts = before.slice(Math.max(0, before.findLastIndex((other) => !isPart(other))))
  const imports = /^import (?:[^"]*? from )?"[^"]+"\n/gm
  const all = new Set(parts.flatMap(({ code }) => Array.from(code.matchAll(imports), ([text]) => text)))
  return Array.from(all).join("") + parts.map(({ code }) => `{\n${code.replace(imports, "")}`).join("") +
    "}\n".repeat(parts.length)
}

/**
 * Type-checks programs, which are named by their path under `at`, in one run of the compiler. Answers what is wrong
 * with each: nothing, where one is well. An error that is in none of them is told of each.
 *
 * @category accessors
 * @since 0.1.0
 */
export const typeErrors = async (
  at: string,
  sources: ReadonlyMap<string, string>
): Promise<(program: string) => string> => {
  for (const folder of new Set(Array.from(sources.keys(), (name) => join(at, dirname(name))))) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
  }
  for (const [name, source] of sources) writeFileSync(join(at, name), source)
  writeFileSync(
    join(at, "tsconfig.json"),
    JSON.stringify({
      extends: join(root, "tsconfig.test.base.json"),
      files: Array.from(sources.keys()),
      // What they import is checked with its own sources.
      references: globSync("packages/*", { cwd: root }).map((folder) => ({ path: join(root, folder) })),
      compilerOptions: { allowJs: true, noEmit: true, noUnusedLocals: false, plugins: [] }
    })
  )
  await using tsc = Program.start(join(root, "node_modules/.bin/tsc"), ["-b", "--pretty", "false"], {
    cwd: at
  })
  const end = await tsc.ended()
  if (end === 0) return () => ""
  // An error begins with the file that it is in; more lines of it are indented. Warnings are no errors.
  const errors = tsc.printed().split(/\n(?=\S)/).filter((text) => text.trim() !== "" && !/: warning TS/.test(text))
  if (errors.length === 0) errors.push(`tsc ended with ${end}`)
  const isOf = (program: string) => (error: string) => error.startsWith(`${program}(`)
  const ofNone = errors.filter((error) => !Array.from(sources.keys()).some((program) => isOf(program)(error)))
  return (program) => [...errors.filter(isOf(program)), ...ofNone].join("\n")
}

/**
 * Runs a program and waits until it printed what the page shows; where it shows nothing, until it ended well. Rejects
 * else. `at` is where it stands, for what it imports; `cwd` is where its files are.
 *
 * @category accessors
 * @since 0.1.0
 */
export const run = async (
  { code, language, line, output }: Snippet,
  at: string,
  cwd: string,
  env: Readonly<Record<string, string>> = {}
): Promise<void> => {
  const isTest = code.includes("RegistryLaws.suite(")
  const file = join(at, `line${line}${isTest ? ".test" : ""}.${language}`)
  writeFileSync(file, code)
  const vitest = join(dirname(createRequire(join(at, "program.js")).resolve("vitest/package.json")), "vitest.mjs")
  await using program = isTest
    ? Program.start(process.execPath, [vitest, "run", "--root", at, "--configLoader", "native", file], { cwd: at, env })
    : Program.start(process.execPath, [file], {
      cwd,
      env: { NODE_COMPILE_CACHE: compiled, ...env },
      limit: 30_000
    })
  await prints(program, output)
}

/**
 * Waits until a program printed what a page shows; where it shows nothing, until it ended well. Rejects else.
 *
 * @category accessors
 * @since 0.1.0
 */
export const prints = async (program: Program.Program, shown: string | undefined): Promise<void> => {
  if (shown === undefined) {
    const end = await program.ended()
    if (end !== 0) throw new Error(`ended with ${end}: ${program.printed()}`)
    return
  }
  await program.until((printed) => matches(shown, printed)).catch((error: unknown) => {
    throw new Error(`shown:\n${shown}\nprinted:\n${program.printed()}`, { cause: error })
  })
}
