import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Balancer from "../src/Balancer.ts"
import * as Traffic from "./fixtures/Traffic.ts"

describe("explore", () => {
  it.effect("B5", () => Effect.gen(function*() {
    for (const weights of [[1,3],[1,2,4],[1,1,1,1,6],[1,1000]]) {
    const total = weights.reduce((a,b)=>a+b)
    for (const strategy of Balancer.strategyNames) {
      const rows: Array<string> = []
      for (const rate of [10, 100, 500, 2000, 10000]) {
        const t = yield* Traffic.make(rate)
        const list = t.nodes(weights.length, (i) => ({ weight: weights[i], limits: {maxConcurrency: 100000} }))
        const picker = t.picker(strategy, list)
        const load: Traffic.Load = { duration: Math.min(100_000, 30_000_000/rate), rate, hashKey: (r) => String(r()) }
        const { counts, calls } = t.run(picker, load)
        rows.push(list.map((n) => ((counts.get(n) ?? 0) / calls / n.weight*total).toFixed(2)).join(","))
      }
      console.log(strategy.padEnd(22), rows.join(" | "))
    }}
    assert.isTrue(true)
  }))
  it.effect("B4", () => Effect.gen(function*() {
    for (const bad of ["failing", "slow"]) 
    for (const strategy of Balancer.strategyNames) {
      const rows: Array<string> = []
      for (const n of [2, 5, 20]) for (const rate of [10, 100, 1000]) {
        const t = yield* Traffic.make(n * 31 + rate)
        const list = t.nodes(n)
        const picker = t.picker(strategy, list)
        let well = false
        const load: Traffic.Load = { duration: 30_000, rate, latency: (node, random) => well || node !== list[0] ? Traffic.exponential(30, random) : bad === "slow" ? 3_000 : 1, outcome: (node) => !well && node === list[0] && bad === "failing" ? "failure" : "success" }
        t.run(picker, load)
        well = true
        let s = ""
        let got = 0, calls = 0, first = 0, half = 0
        for (let sec = 1; sec <= 120; sec++) {
          const r = t.run(picker, { ...load, duration: 1000 })
          const c = r.counts.get(list[0]!) ?? 0
          if (c > 0 && first === 0) first = sec
          got = got * .8 + c * .2; calls = calls*.8 + r.calls*.2
          if (half === 0 && got / calls > .5 / n) half = sec
        }
        rows.push(first + "/" + half)
      }
      console.log(strategy.padEnd(22), rows.join(" "))
    }
    assert.isTrue(true)
  }))
})
