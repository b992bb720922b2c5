/**
 * What a condition of a query means: predicates over one value.
 */
import * as Result from "effect/Result"
import type { Condition, Operators, Scalar } from "../../Query.ts"
import * as linearRegExp from "./linearRegExp.ts"

type Test = (value: unknown) => boolean
type Compiled = Result.Result<Test, { readonly path: string; readonly reason: string }>

/** A pattern in which `*` stands for any text. Takes at most text × pattern steps: it never goes back past the last `*`. */
export const pattern = (text: string): (value: string) => boolean => {
  const star = text.indexOf("*")
  if (star === -1) return (value) => value === text
  if (star === text.length - 1) {
    const prefix = text.slice(0, -1)
    return (value) => value.startsWith(prefix)
  }
  const parts = text.split("*")
  const first = parts.shift() ?? ""
  const last = parts.pop() ?? ""
  return (value) => {
    if (value.length < first.length + last.length || !value.startsWith(first) || !value.endsWith(last)) return false
    let at = first.length
    const end = value.length - last.length
    for (const part of parts) {
      const found = value.indexOf(part, at)
      if (found === -1 || found + part.length > end) return false
      at = found + part.length
    }
    return true
  }
}

const decimal = /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/

// Brings a value to the type of what it is compared with: backends of text only write numbers and booleans as text.
const alike = (value: unknown, operand: Scalar): unknown => {
  if (typeof value !== "string") return value
  if (typeof operand === "number" && decimal.test(value)) return Number(value)
  if (typeof operand === "boolean" && (value === "true" || value === "false")) return value === "true"
  return value
}

// An element of a list is enough.
const some = (test: Test): Test => (value) => Array.isArray(value) ? value.some(test) : test(value)
const not = (test: Test): Test => (value) => !test(value)
const exactly = (operand: Scalar): Test => some((value) => alike(value, operand) === operand)
const anyOf = (operands: ReadonlyArray<Scalar>): Test => {
  const tests = operands.map(exactly)
  return (value) => tests.some((test) => test(value))
}
const ordered = (operand: number | string, holds: (order: number) => boolean): Test =>
  some((value) => {
    const left = alike(value, operand)
    if (typeof left === "number" && typeof operand === "number") return holds(left - operand)
    if (typeof left === "string" && typeof operand === "string") {
      return holds(left < operand ? -1 : left > operand ? 1 : 0)
    }
    return false
  })

const matching = (operand: Scalar): Test => {
  if (typeof operand !== "string") return exactly(operand)
  const matches = pattern(operand)
  return some((value) => typeof value === "string" && matches(value))
}

const isOperators = (condition: Condition): condition is Operators =>
  typeof condition === "object" && condition !== null && !Array.isArray(condition)
const isList = (condition: Condition): condition is ReadonlyArray<Scalar> => Array.isArray(condition)

/** Compiles a condition; the path in a failure begins with `path`. */
export const condition = (input: Condition, path: string): Compiled => {
  if (isList(input)) {
    const tests = input.map(matching)
    return Result.succeed((value) => tests.some((test) => test(value)))
  }
  return isOperators(input) ? operators(input, path) : Result.succeed(matching(input))
}

const operators = (input: Operators, path: string): Compiled => {
  const tests: Array<Test> = []
  if (input.$eq !== undefined) tests.push(exactly(input.$eq))
  if (input.$ne !== undefined) tests.push(not(exactly(input.$ne)))
  if (input.$gt !== undefined) tests.push(ordered(input.$gt, (order) => order > 0))
  if (input.$gte !== undefined) tests.push(ordered(input.$gte, (order) => order >= 0))
  if (input.$lt !== undefined) tests.push(ordered(input.$lt, (order) => order < 0))
  if (input.$lte !== undefined) tests.push(ordered(input.$lte, (order) => order <= 0))
  if (input.$in !== undefined) tests.push(anyOf(input.$in))
  if (input.$nin !== undefined) tests.push(not(anyOf(input.$nin)))
  if (input.$exists !== undefined) {
    const wanted = input.$exists
    tests.push((value) => (value !== undefined) === wanted)
  }
  if (input.$regex !== undefined) {
    const compiled = linearRegExp.compile(input.$regex)
    if (Result.isFailure(compiled)) return Result.fail({ path: `${path}.$regex`, reason: compiled.failure })
    const matches = compiled.success
    tests.push(some((value) => typeof value === "string" && matches(value)))
  }
  for (const key of ["$and", "$or"] as const) {
    const parts = input[key]
    if (parts === undefined) continue
    const compiled = Result.all(parts.map((part, index) => operators(part, `${path}.${key}.${index}`)))
    if (Result.isFailure(compiled)) return Result.fail(compiled.failure)
    const inner = compiled.success
    tests.push(
      key === "$and" ? (value) => inner.every((test) => test(value)) : (value) => inner.some((test) => test(value))
    )
  }
  if (input.$not !== undefined) {
    const compiled = operators(input.$not, `${path}.$not`)
    if (Result.isFailure(compiled)) return compiled
    tests.push(not(compiled.success))
  }
  return Result.succeed((value) => tests.every((test) => test(value)))
}
