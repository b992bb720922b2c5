/**
 * Regular expressions that can't blow up: time grows with pattern × text, whatever they are.
 *
 * JavaScript's own engine backtracks, so one pattern from a URL could stop the whole process. This one follows all
 * alternatives at once (Thompson 1968; https://swtch.com/~rsc/regexp/regexp1.html). It has what such automata can have:
 * no back-references, no look-around. Single characters and classes are judged by JavaScript's own engine.
 */
import * as Result from "effect/Result"

const maxPattern = 1_000
const maxSteps = 5_000
const maxText = 10_000

type Node =
  | { readonly _tag: "Char"; readonly matches: (char: string) => boolean; next: number }
  | { readonly _tag: "Split"; left: number; right: number }
  | { readonly _tag: "Assert"; readonly holds: (text: string, index: number) => boolean; next: number }
  | { readonly _tag: "Match" }

type Tree =
  | { readonly _tag: "One"; readonly matches: (char: string) => boolean }
  | { readonly _tag: "Assertion"; readonly holds: (text: string, index: number) => boolean }
  | { readonly _tag: "Sequence"; readonly items: ReadonlyArray<Tree> }
  | { readonly _tag: "Either"; readonly items: ReadonlyArray<Tree> }
  | { readonly _tag: "Repeat"; readonly item: Tree; readonly min: number; readonly max: number }

class Unsupported extends Error {}

const isWord = (char: string | undefined) => char !== undefined && /^\w$/.test(char)
const wordBoundary = (text: string, index: number) => isWord(text[index - 1]) !== isWord(text[index])

// Reads a pattern whose syntax JavaScript has already accepted, so it needs no error handling of its own.
const read = (pattern: string, ignoreCase: boolean): Tree => {
  let at = 0
  const native = (source: string) => {
    const regexp = new RegExp(`^(?:${source})$`, ignoreCase ? "isu" : "su")
    return (char: string) => regexp.test(char)
  }
  const take = (sticky: RegExp): RegExpExecArray | null => {
    sticky.lastIndex = at
    const match = sticky.exec(pattern)
    if (match !== null) at = sticky.lastIndex
    return match
  }
  const either = (depth: number): Tree => {
    if (depth > 50) throw new Unsupported("groups are nested too deeply")
    const items = [sequence(depth)]
    while (pattern[at] === "|") {
      at++
      items.push(sequence(depth))
    }
    return items.length === 1 && items[0] !== undefined ? items[0] : { _tag: "Either", items }
  }
  const sequence = (depth: number): Tree => {
    const items: Array<Tree> = []
    while (at < pattern.length && pattern[at] !== "|" && pattern[at] !== ")") items.push(repeated(atom(depth)))
    return { _tag: "Sequence", items }
  }
  const repeated = (item: Tree): Tree => {
    const match = take(/([*+?]|\{(\d+)(,(\d*))?\})\??/y)
    if (match === null) return item
    switch (match[1]) {
      case "*":
        return { _tag: "Repeat", item, min: 0, max: Infinity }
      case "+":
        return { _tag: "Repeat", item, min: 1, max: Infinity }
      case "?":
        return { _tag: "Repeat", item, min: 0, max: 1 }
    }
    const min = Number(match[2])
    return {
      _tag: "Repeat",
      item,
      min,
      max: match[3] === undefined ? min : match[4] === "" ? Infinity : Number(match[4])
    }
  }
  const atom = (depth: number): Tree => {
    if (pattern[at] === "(") {
      if (take(/\((?:\?:|\?<[^=!>]+>)?(?!\?)/y) === null) throw new Unsupported("look-around is not supported")
      const inner = either(depth + 1)
      at++
      return inner
    }
    if (take(/\^/y) !== null) return { _tag: "Assertion", holds: (_, index) => index === 0 }
    if (take(/\$/y) !== null) return { _tag: "Assertion", holds: (text, index) => index === text.length }
    if (take(/\\b/y) !== null) return { _tag: "Assertion", holds: wordBoundary }
    if (take(/\\B/y) !== null) return { _tag: "Assertion", holds: (text, index) => !wordBoundary(text, index) }
    if (take(/\\[1-9k]/y) !== null) throw new Unsupported("back-references are not supported")
    if (take(/\./y) !== null) return { _tag: "One", matches: native("[^\\n\\r\\u2028\\u2029]") }
    const simple = take(
      /\[(?:\\[^]|[^\]\\])*\]|\\(?:u\{[^}]*\}|u[\da-fA-F]{4}(?:\\u[dD][\da-fA-F]{3})?|x[\da-fA-F]{2}|c[a-zA-Z]|[pP]\{[^}]*\}|[^])|[^]/uy
    )
    const source = simple?.[0] ?? ""
    if (!ignoreCase && !/^[\\[]/.test(source)) return { _tag: "One", matches: (char) => char === source }
    return { _tag: "One", matches: native(source.length === 1 ? source.replace(/[/^$.*+?()[\]{}|]/, "\\$&") : source) }
  }
  return either(0)
}

// Nodes are written from the end to the start: `next` is the node that follows.
const write = (tree: Tree, next: number, nodes: Array<Node>, steps: { left: number }): number => {
  // Counted in steps and not in nodes, as an item that is empty writes none.
  if (steps.left-- <= 0) throw new Unsupported("its repetitions are too many")
  const push = (node: Node): number => nodes.push(node) - 1
  switch (tree._tag) {
    case "One":
      return push({ _tag: "Char", matches: tree.matches, next })
    case "Assertion":
      return push({ _tag: "Assert", holds: tree.holds, next })
    case "Sequence":
      return tree.items.reduceRight((following, item) => write(item, following, nodes, steps), next)
    case "Either":
      return tree.items
        .map((item) => write(item, next, nodes, steps))
        .reduce((left, right) => push({ _tag: "Split", left, right }))
    case "Repeat": {
      let entry = next
      if (tree.max === Infinity) {
        const loop: Node = { _tag: "Split", left: next, right: next }
        entry = push(loop)
        loop.left = write(tree.item, entry, nodes, steps)
      } else {
        for (let i = tree.min; i < tree.max; i++) {
          entry = push({ _tag: "Split", left: write(tree.item, entry, nodes, steps), right: next })
        }
      }
      for (let i = 0; i < tree.min; i++) entry = write(tree.item, entry, nodes, steps)
      return entry
    }
  }
}

const run = (nodes: ReadonlyArray<Node>, start: number, text: string): boolean => {
  // The step at which a node was last added; a node is added once a step.
  const added = new Int32Array(nodes.length).fill(-1)
  let current: Array<number> = []
  let following: Array<number> = []
  const pending: Array<number> = []
  const add = (into: Array<number>, first: number, index: number): boolean => {
    pending.push(first)
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      const node = nodes[at]
      if (node === undefined || added[at] === index) continue
      added[at] = index
      if (node._tag === "Match") {
        pending.length = 0
        return true
      }
      if (node._tag === "Char") into.push(at)
      else if (node._tag === "Split") pending.push(node.right, node.left)
      else if (node.holds(text, index)) pending.push(node.next)
    }
    return false
  }
  for (let index = 0; index <= text.length;) {
    if (add(current, start, index)) return true
    const code = text.codePointAt(index)
    if (code === undefined) return false
    const char = String.fromCodePoint(code)
    const after = index + char.length
    for (const at of current) {
      const node = nodes[at]
      if (node?._tag === "Char" && node.matches(char) && add(following, node.next, after)) return true
    }
    ;[current, following] = [following, current]
    following.length = 0
    index = after
  }
  return false
}

/**
 * Compiles a pattern in JavaScript's syntax; a leading `(?i)` ignores case. The failure is one line. Texts of more than
 * 10,000 characters never match.
 */
export const compile = (source: string): Result.Result<(text: string) => boolean, string> => {
  if (source.length > maxPattern) return Result.fail(`a regular expression has at most ${maxPattern} characters`)
  const ignoreCase = source.startsWith("(?i)")
  const pattern = ignoreCase ? source.slice(4) : source
  try {
    RegExp(pattern, "u")
  } catch (error) {
    return Result.fail(error instanceof Error ? error.message.replace(/\s+/g, " ") : "invalid regular expression")
  }
  try {
    const nodes: Array<Node> = [{ _tag: "Match" }]
    const start = write(read(pattern, ignoreCase), 0, nodes, { left: maxSteps })
    return Result.succeed((text) => text.length <= maxText && run(nodes, start, text))
  } catch (error) {
    if (error instanceof Unsupported) return Result.fail(`the regular expression can't be used: ${error.message}`)
    throw error
  }
}
