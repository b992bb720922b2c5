/**
 * Where a text stops being JSON. JavaScript's own message names a position only for some mistakes.
 */

const space = /[ \t\r\n]*/y
// Everything but quotes, backslashes and control characters stands for itself.
const scalar =
  /"(?:[ !#-[\]-\u{10ffff}]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null/uy

/** Describes the first mistake: `line 3, column 7: expected "," or "}"`; none where the text is JSON. */
export const jsonMistake = (text: string): string | undefined => {
  let at = 0
  const skip = (pattern: RegExp): boolean => {
    pattern.lastIndex = at
    const found = pattern.test(text)
    if (found) at = pattern.lastIndex
    return found
  }
  const eat = (char: string): boolean => {
    skip(space)
    if (text[at] !== char) return false
    at++
    return true
  }
  const expected = (what: string): string => {
    const before = text.slice(0, at)
    const line = before.split("\n").length
    const where = `line ${line}, column ${at - before.lastIndexOf("\n")}`
    return `${where}: expected ${what}, found ${at >= text.length ? "the end of the file" : JSON.stringify(text[at])}`
  }
  // The brackets that are open, so that depth costs no stack.
  const open: Array<"}" | "]"> = []
  const key = (): string | undefined => {
    skip(space)
    if (text[at] !== "\"" || !skip(scalar)) return expected("a key in double quotes")
    return eat(":") ? undefined : expected("\":\"")
  }
  for (;;) {
    let opened = false
    if (eat("{")) {
      if (!eat("}")) {
        const mistake = key()
        if (mistake !== undefined) return mistake
        open.push("}")
        opened = true
      }
    } else if (eat("[")) {
      if (!eat("]")) {
        open.push("]")
        opened = true
      }
    } else if (!skip(scalar)) return expected("a value")
    if (opened) continue
    for (;;) {
      const close = open.at(-1)
      skip(space)
      if (close === undefined) return at >= text.length ? undefined : expected("the end of the file")
      if (eat(close)) {
        open.pop()
        continue
      }
      if (!eat(",")) return expected(`"," or "${close}"`)
      if (close === "}") {
        const mistake = key()
        if (mistake !== undefined) return mistake
      }
      break
    }
  }
}
