import { assert, describe, it } from "@effect/vitest"
import { hiddenLines } from "../src/hiddenLines.ts"

const offer = (name: string, reason: string) => ({ kind: "tools", service: "s", name, reason })

describe("what is hidden", () => {
  it("is a line for each reason, in the order of what came first", () => {
    assert.deepStrictEqual(hiddenLines([]), [])
    assert.deepStrictEqual(hiddenLines([offer("pay", "x"), offer("search", "a has the name"), offer("refund", "x")]), [
      { names: "pay, refund", isOne: false, reason: "x" },
      { names: "search", isOne: true, reason: "a has the name" }
    ])
  })

  it("names few of many, and each of them once", () => {
    const of = (count: number) => Array.from({ length: count }, (_, index) => offer(`t${index}`, "x"))
    assert.strictEqual(hiddenLines(of(5))[0]?.names, "t0, t1, t2, t3, t4")
    assert.strictEqual(hiddenLines([...of(1_000), ...of(1_000)])[0]?.names, "t0, t1, t2, t3, t4 and 995 more")
  })

  it("reaches no terminal as more than text", () => {
    assert.deepStrictEqual(hiddenLines([offer("a\u001b[31m\nb", "x\ny")]), [
      { names: "a b", isOne: true, reason: "x y" }
    ])
  })
})
