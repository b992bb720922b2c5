import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as IpSet from "../src/IpSet.ts"

const all = (set: IpSet.IpSet) =>
  Array.from({ length: Number(IpSet.size(set)) }, (_, index) => IpSet.at(set, BigInt(index)))

describe("IpSet", () => {
  it("reads networks, ranges and addresses", () => {
    for (
      const [text, ...addresses] of [
        ["10.0.0.7", "10.0.0.7"],
        ["10.0.0.6/31", "10.0.0.6", "10.0.0.7"],
        // Whoever names a host of a network means the network.
        ["10.0.0.7/31", "10.0.0.6", "10.0.0.7"],
        [" 10.0.0.255 - 10.0.1.1 ", "10.0.0.255", "10.0.1.0", "10.0.1.1"],
        ["255.255.255.255", "255.255.255.255"],
        ["fd00::ffff/127", "fd00::fffe", "fd00::ffff"],
        ["::1-::3", "::1", "::2", "::3"],
        ["::ffff:10.0.0.6/127", "10.0.0.6", "10.0.0.7"]
      ] as const
    ) assert.deepStrictEqual(all(Result.getOrThrow(IpSet.parse(text))), addresses, text)
  })

  it("refuses what isn't one, and says what is", () => {
    for (
      const text of [
        "",
        "localhost",
        "10.0.0",
        "010.0.0.1",
        "0x7f.0.0.1",
        "2130706433",
        "10.0.0.1/33",
        "10.0.0.1/",
        "10.0.0.1/-1",
        "10.0.0.1/1e1",
        "::/129",
        "10.0.0.9-10.0.0.1",
        "10.0.0.1-::1",
        "10.0.0.1-10.0.0.2-10.0.0.3",
        "10.0.0.0/24/24",
        "fe80::1%eth0"
      ]
    ) {
      const set = IpSet.parse(text)
      assert.isTrue(Result.isFailure(set), text)
      if (Result.isFailure(set)) assert.match(set.failure, /^expected a network .* or an address, not ".*"$/)
    }
  })

  it("takes an IPv4-mapped address for the IPv4 address that it is, and IPv6 for IPv6 only", () => {
    const net = IpSet.of("10.0.0.0/8")
    for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203", "0:0:0:0:0:ffff:10.1.2.3"]) {
      assert.isTrue(IpSet.has(net, address), address)
    }
    const everyIpv6 = IpSet.of("::/0")
    assert.isFalse(IpSet.has(everyIpv6, "10.1.2.3"))
    assert.isFalse(IpSet.has(everyIpv6, "::ffff:10.1.2.3"))
    assert.isTrue(IpSet.has(everyIpv6, "::fffe:ffff:ffff"))
    assert.isTrue(IpSet.has(everyIpv6, "::1:0:0:0"))
    assert.strictEqual(IpSet.size(everyIpv6), 2n ** 128n - 2n ** 32n)
    for (const text of ["10.1.2.0/24", "10.1.2.3-10.1.2.4", "somewhere", ""]) assert.isFalse(IpSet.has(net, text), text)
  })

  it("is a set: union, intersection and difference hold what their members say, and are listed once and in order", () => {
    // A few addresses about the places where one kind of them ends.
    const address = fc.oneof(
      fc.integer({ min: 0, max: 15 }).map((n) => `0.0.0.${n}`),
      fc.integer({ min: 240, max: 255 }).map((n) => `255.255.255.${n}`),
      fc.integer({ min: 0, max: 15 }).map((n) => `::${n.toString(16)}`),
      fc.integer({ min: 0, max: 15 }).map((n) => `::fffe:ffff:fff${n.toString(16)}`),
      fc.integer({ min: 0, max: 15 }).map((n) => `::1:0:0:${n.toString(16)}`),
      fc.integer({ min: 0, max: 15 }).map((n) => `::ffff:0.0.0.${n}`),
      fc.constant("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    )
    const text = fc.oneof(
      address,
      fc.tuple(address, fc.integer({ min: 28, max: 32 })).map(([one, length]) =>
        `${one}/${one.includes(":") ? length + 96 : length}`
      ),
      fc.tuple(address, address).map(([one, other]) => `${one}-${other}`)
        .filter((range) => Result.isSuccess(IpSet.parse(range)))
    )
    const set = fc.array(text, { maxLength: 5 }).map((texts) => Result.getOrThrow(IpSet.parseAll(texts)))
    fc.assert(
      fc.property(set, set, fc.array(address, { minLength: 1, maxLength: 20 }), (one, other, addresses) => {
        const sets = [IpSet.union(one, other), IpSet.intersect(one, other), IpSet.subtract(one, other)] as const
        for (const address of addresses) {
          const [a, b] = [IpSet.has(one, address), IpSet.has(other, address)]
          assert.deepStrictEqual(sets.map((set) => IpSet.has(set, address)), [a || b, a && b, a && !b], address)
        }
        for (const set of sets) {
          const size = IpSet.size(set)
          if (size > 512n) continue
          const list = all(set)
          assert.strictEqual(new Set(list).size, list.length)
          assert.isTrue(list.every((address) => address !== undefined && IpSet.has(set, address)))
          assert.isUndefined(IpSet.at(set, size))
        }
        for (let at = 1; at < sets[0].ranges.length; at++) {
          assert.isTrue(sets[0].ranges[at - 1]!.last + 1n < sets[0].ranges[at]!.first)
        }
      }),
      { numRuns: 500 }
    )
  })
})
