import { assert, describe, it } from "@effect/vitest"
import * as IpSet from "@portolan/core/IpSet"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Plan from "../src/internal/plan.ts"
import { resolve, Targets } from "../src/internal/targets.ts"
import type { ScanOptions } from "../src/Scan.ts"

const plan = (options: ScanOptions) => Result.getOrThrow(Plan.make(options))
const all = (targets: Targets) => Array.from({ length: targets.total }, (_, index) => targets.at(index))
const addresses = (targets: Targets) => all(targets).map(({ host, port }) => `${host} ${port}`)

/** Names as they are known; anything else there isn't. */
const names = (known: Readonly<Record<string, ReadonlyArray<string> | string>>) => (name: string) => {
  const found = known[name] ?? "ENOTFOUND"
  return typeof found === "string"
    ? Promise.reject(Object.assign(new Error(found), { code: found }))
    : Promise.resolve(found.map((address) => ({ address })))
}

describe("targets", () => {
  it("are every port of every address, the first port of all of them first; 127.0.0.1 without further words", () => {
    assert.deepStrictEqual(addresses(new Targets(plan({ ports: [8080] }), [])), ["127.0.0.1 8080"])
    const networks = ["10.0.0.2-10.0.0.3", "fd00::1", "10.0.0.3"]
    assert.deepStrictEqual(addresses(new Targets(plan({ networks, ports: ["3000-3001", 3001, "80"] }), [])), [
      "10.0.0.2 3000",
      "10.0.0.3 3000",
      "fd00::1 3000",
      "10.0.0.2 3001",
      "10.0.0.3 3001",
      "fd00::1 3001",
      "10.0.0.2 80",
      "10.0.0.3 80",
      "fd00::1 80"
    ])
  })

  it("N7: are never outside what is allowed, and never what is denied", () => {
    const address = fc.oneof(
      fc.integer({ min: 0, max: 63 }).map((n) => `10.0.0.${n}`),
      fc.integer({ min: 0, max: 63 }).map((n) => `fd00::${n.toString(16)}`),
      fc.integer({ min: 0, max: 63 }).map((n) => `::ffff:10.0.0.${n}`)
    )
    const network = fc.oneof(
      address,
      fc.tuple(address, fc.integer({ min: 26, max: 32 })).map(([address, length]) =>
        `${address}/${address.includes(":") ? length + 96 : length}`
      )
    )
    const networks = fc.array(network, { minLength: 1, maxLength: 4 })
    fc.assert(fc.property(
      networks,
      fc.option(networks, { nil: undefined }),
      fc.option(networks, { nil: undefined }),
      fc.array(address, { maxLength: 6 }),
      (networks, allowNetworks, denyNetworks, found) => {
        const made = Plan.make({ networks, allowNetworks, denyNetworks, hosts: ["somewhere"], ports: [80, 81] })
        if (Result.isFailure(made)) return
        const targets = new Targets(made.success, found.map((address) => ({ address, name: "somewhere" })))
        const allow = IpSet.of(...allowNetworks ?? ["127.0.0.0/8", ...networks])
        const deny = IpSet.of(...denyNetworks ?? [])
        const may = (address: string) => IpSet.has(allow, address) && !IpSet.has(deny, address)
        const asked = all(targets)
        assert.isTrue(asked.every(({ host }) => may(host)))
        const hosts = new Set(asked.map(({ host }) => host))
        assert.strictEqual(new Set(asked.map(({ host, port }) => `${host} ${port}`)).size, asked.length)
        assert.strictEqual(hosts.size * 2, asked.length)
        const wanted = IpSet.union(IpSet.of(...networks), IpSet.of(...found))
        for (let index = 0n; index < IpSet.size(wanted); index++) {
          const address = IpSet.at(wanted, index) ?? ""
          assert.strictEqual(hosts.has(address), may(address), address)
        }
      }
    ))
  })

  it.effect("N7: a name is asked at the addresses it has now, where they are allowed, and never by its name", () =>
    Effect.gen(function*() {
      const lookup = names({
        inside: ["127.0.0.1", "127.0.0.9", "::ffff:127.0.0.8"],
        "rebound.example": ["10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1"],
        linked: ["fe80::1%eth0", "::1"]
      })
      const options = { hosts: ["inside", "rebound.example", "linked", "nowhere"], ports: [80] }
      const targets = yield* resolve(plan({ ...options, denyNetworks: ["127.0.0.9"] }), lookup)
      assert.deepStrictEqual(all(targets).map(({ host, serverName }) => [host, serverName]), [
        ["127.0.0.1", "inside"],
        ["127.0.0.8", "inside"],
        ["::1", "linked"]
      ])
      const wide = yield* resolve(plan({ ...options, networks: ["127.0.0.1"], allowNetworks: ["10.0.0.0/8"] }), lookup)
      assert.deepStrictEqual(addresses(wide), ["10.0.0.1 80"])
    }))

  it("N7: are never the unspecified addresses, which lead to this machine whatever is denied", () => {
    const denyNetworks = ["127.0.0.0/8", "::1"]
    const options = { networks: ["0.0.0.0/31", "::/127", "::ffff:0.0.0.0"], ports: [80], denyNetworks }
    assert.deepStrictEqual(addresses(new Targets(plan(options), [])), ["0.0.0.1 80"])
    const named = plan({ hosts: ["sly"], ports: [80], allowNetworks: ["0.0.0.0/0", "::/0"], denyNetworks })
    const found = ["0.0.0.0", "::", "::ffff:0.0.0.0"].map((address) => ({ address, name: "sly" }))
    assert.deepStrictEqual(addresses(new Targets(named, found)), [])
  })

  it.effect("are in the same order each time, in whichever order a name's addresses are told", () =>
    Effect.gen(function*() {
      const known = Array.from({ length: 20 }, (_, n) => `10.0.0.${n}`)
      const asked = (found: ReadonlyArray<string>) =>
        resolve(plan({ hosts: ["turning"], ports: [80], allowNetworks: ["10.0.0.0/8"] }), names({ turning: found }))
          .pipe(Effect.map(addresses))
      const first = yield* asked(known)
      assert.lengthOf(first, Plan.addressesOfName)
      assert.deepStrictEqual(yield* asked(known.toReversed()), first)
    }))

  it.effect("are no more than may be asked, with the addresses of names", () =>
    Effect.gen(function*() {
      const hosts = ["one", "two", "three"]
      const known = Object.fromEntries(hosts.map((name, n) => [
        name,
        Array.from({ length: Plan.addressesOfName }, (_, host) => `10.0.${n}.${host}`)
      ]))
      const asked = plan({ hosts, ports: ["1-65535"], allowNetworks: ["10.0.0.0/8"] })
      assert.deepStrictEqual(yield* Effect.flip(resolve(asked, names(known))), {
        option: "hosts",
        reason: "with their ports they are 3,145,680 to ask, and at most 2,097,152 can be"
      })
    }))

  it.effect("a name that can't be looked up ends the scan: nobody is missed for it", () =>
    Effect.gen(function*() {
      const lookup = names({ inside: ["127.0.0.1"], broken: "EAI_AGAIN" })
      const mistake = yield* Effect.flip(resolve(plan({ hosts: ["inside", "broken"], ports: [80] }), lookup))
      assert.deepStrictEqual(mistake, { reason: "\"broken\" can't be looked up: EAI_AGAIN" })
    }))

  it("are read only from options that make sense: the failure says what to write", () => {
    for (
      const [options, expected] of [
        [{ ports: [] }, /^ports: expected at least one, such as 3000-3010$/],
        [{ ports: ["0"] }, /^ports: expected 8080 or 3000-3010, not "0"$/],
        [{ ports: ["3010-3000"] }, /^ports: .*"3010-3000"$/],
        [{ ports: [65_536] }, /^ports: .*65536$/],
        [{ ports: [1.5] }, /^ports: .*1\.5$/],
        [{ ports: [80], networks: ["10.0.0.0/40"] }, /^networks: expected a network .*"10.0.0.0\/40"$/],
        [{ ports: [80], allowNetworks: ["all"] }, /^allowNetworks: expected a network/],
        [{ ports: [80], denyNetworks: ["none"] }, /^denyNetworks: expected a network/],
        [
          { ports: [80], networks: ["10.0.0.1"], denyNetworks: ["10.0.0.0/8"] },
          /^networks: none of their addresses may be asked: .* allowed and denied$/
        ],
        [
          { ports: [80], networks: ["fd00::/64"] },
          /^networks: with their ports they are 18,446,744,073,709,551,616 to ask, and at most 2,097,152 can be$/
        ],
        [{ ports: ["1-65535"], networks: ["10.0.0.0/24"] }, /^networks: .* 16,776,960 to ask/],
        [{ ports: [80], hosts: ["build.internal", "http://b:80"] }, /^hosts: expected a name .*, not "http:\/\/b:80"$/],
        [{ ports: [80], hosts: [""] }, /^hosts: expected a name such as build\.internal or an address, not ""$/],
        [{ ports: [80], schemes: [] }, /^schemes: expected at least one$/],
        [{ ports: [80], transports: [] }, /^transports: expected at least one$/],
        [{ ports: [80], paths: [] }, /^paths: expected paths such as \/mcp/],
        [{ ports: [80], paths: ["/mcp?key=1"] }, /^paths: .*"\/mcp\?key=1"$/],
        [{ ports: [80], concurrency: 0 }, /^concurrency: expected a number from 1/],
        [{ ports: [80], rate: NaN }, /^rate: expected a number from 1/],
        [{ ports: [80], connectTimeout: 0 }, /^connectTimeout: expected a time, such as "3 seconds"$/],
        [{ ports: [80], identifyTimeout: Duration.infinity }, /^identifyTimeout: expected a time/]
      ] as const
    ) {
      const made = Plan.make(options)
      assert.isTrue(Result.isFailure(made), String(expected))
      if (Result.isFailure(made)) assert.match(`${made.failure.option}: ${made.failure.reason}`, expected)
    }
  })
})
