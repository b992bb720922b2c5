import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Budget } from "../src/internal/routing/budget.ts"

describe("Budget", () => {
  it("holds the reserve of 10 s where nothing was put in", () => {
    const budget = new Budget()
    for (let spent = 0; spent < 20; spent++) assert.isTrue(budget.withdraw(2, 500))
    assert.isFalse(budget.withdraw(2, 900))
    assert.strictEqual(budget.spent, 20)
    assert.strictEqual(budget.denied, 1)
    // What was taken out 10 s ago is forgotten.
    assert.isFalse(budget.withdraw(2, 9_999))
    assert.isTrue(budget.withdraw(2, 10_000))
    assert.isTrue(budget.withdraw(2, 1_000_000))
  })

  it("is worth the share of the calls of the last 10 s, without losing fractions", () => {
    const budget = new Budget()
    for (let call = 0; call < 10_000; call++) budget.deposit(0.1, call)
    assert.approximately(budget.balance(0, 9_999), 1_000, 1e-6)
    let spent = 0
    while (budget.withdraw(0, 9_999)) spent++
    assert.strictEqual(spent, 1_000)
    budget.refund(9_999)
    assert.isTrue(budget.withdraw(0, 9_999))
    assert.strictEqual(budget.spent, 1_000)
    assert.strictEqual(budget.balance(0, 60_000), 0)
  })

  it("X2: never lets out more within 10 s than the share of the calls and the reserve, for any course of events", () => {
    fc.assert(fc.property(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 0, max: 5 }),
      fc.array(fc.record({ wait: fc.integer({ min: 0, max: 3_000 }), retry: fc.boolean() }), { maxLength: 200 }),
      (share, reserve, steps) => {
        const budget = new Budget()
        const calls: Array<number> = []
        const retries: Array<number> = []
        let at = 0
        for (const { retry, wait } of steps) {
          at += wait
          if (!retry) {
            budget.deposit(share, at)
            calls.push(at)
          } else if (budget.withdraw(reserve, at)) retries.push(at)
        }
        // Whole seconds: a slice is forgotten as a whole, not earlier than 9 s after what is in it.
        const second = (time: number) => Math.floor(time / 1_000)
        for (const end of retries) {
          const within = (time: number) => time <= end && second(time) > second(end) - 10
          const allowed = share * calls.filter(within).length + reserve * 10
          assert.isAtMost(retries.filter(within).length, allowed + 1e-6)
        }
      }
    ))
  })
})
