/**
 * Selectors of labels and fields, as queries carry them.
 *
 * @since 0.2.0
 */
import { at, type JsonObject, textOf } from "./Json.ts"

/**
 * Whether an object is selected.
 *
 * @category models
 * @since 0.2.0
 */
export type Selector = (object: JsonObject) => boolean

const key = String.raw`(?:[a-z0-9.-]+\/)?[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?`
const word = String.raw`[A-Za-z0-9]?[\w.-]*`
const among = new RegExp(String.raw`^(${key})\s+(in|notin)\s*\(([^()]*)\)$`)
const equal = new RegExp(String.raw`^(${key})\s*(=|==|!=)\s*(${word})$`)
const present = new RegExp(String.raw`^(!?)\s*(${key})$`)

const requirement = (text: string): Selector | undefined => {
  const label = (object: JsonObject, name: string) => at(object, "metadata", "labels", name)
  const [, amongKey = "", operator, list = ""] = among.exec(text) ?? []
  if (operator !== undefined) {
    const words = list.split(",").map((one) => one.trim())
    return (object) =>
      words.includes(textOf(label(object, amongKey))) && label(object, amongKey) !== undefined
        ? operator === "in"
        : operator === "notin"
  }
  const [, equalKey = "", comparison, wanted] = equal.exec(text) ?? []
  if (comparison !== undefined) {
    return (object) => (label(object, equalKey) === wanted) === (comparison !== "!=")
  }
  const [, not, name] = present.exec(text) ?? []
  return name === undefined ? undefined : (object) => (label(object, name) === undefined) === (not === "!")
}

/**
 * Reads a selector of labels, such as `app=mcp,tier in (a, b),!old`; `undefined` where it isn't one.
 *
 * @category constructors
 * @since 0.2.0
 */
export const labels = (text: string): Selector | undefined => {
  if (text.trim() === "") return () => true
  // Commas between parentheses part values, not requirements.
  const read = text.split(/,(?![^()]*\))/).map((part) => requirement(part.trim()))
  const all = read.filter((one) => one !== undefined)
  return all.length === read.length ? (object) => all.every((selects) => selects(object)) : undefined
}

/**
 * Reads a selector of fields, such as `metadata.name=weather`; `undefined` where it isn't one. Kubernetes selects by name
 * and namespace alone in the resources that are served here.
 *
 * @category constructors
 * @since 0.2.0
 */
export const fields = (text: string): Selector | undefined => {
  if (text.trim() === "") return () => true
  const read = text.split(",").map((part): Selector | undefined => {
    const [, path, comparison, wanted] = /^metadata\.(name|namespace)(=|==|!=)(.*)$/.exec(part.trim()) ?? []
    return path === undefined
      ? undefined
      : (object) => (textOf(at(object, "metadata", path)) === wanted) === (comparison !== "!=")
  })
  const all = read.filter((one) => one !== undefined)
  return all.length === read.length ? (object) => all.every((selects) => selects(object)) : undefined
}
