/** How services are found and lost, on a network without sockets: hours of it in an instant. */
import { assert, describe, it, vi } from "@effect/vitest"
import * as fc from "fast-check"
import { Buffer } from "node:buffer"
import { Browser } from "../src/internal/browser.ts"
import { Cache } from "../src/internal/cache.ts"
import { query, type Resource, response } from "../src/internal/message.ts"
import { link, offer, port, questions, textOf, type, VirtualNetwork } from "./VirtualNetwork.ts"

const second = 1000
const minute = 60 * second
const hour = 60 * minute

/** The records of a service at a host, as another implementation announces them. */
const records = (address: string, { name = "ship", ptr = 4500, ttl = 120 } = {}): ReadonlyArray<Resource> => [
  { name: "_mcp._tcp.local", ttl: ptr, isUnique: false, data: { type: "PTR", target: `${name}._mcp._tcp.local` } },
  {
    name: `${name}._mcp._tcp.local`,
    ttl,
    isUnique: true,
    data: { type: "SRV", priority: 0, weight: 0, port: 8080, target: `${name}-host.local` }
  },
  {
    name: `${name}._mcp._tcp.local`,
    ttl: ptr,
    isUnique: true,
    data: { type: "TXT", strings: [Buffer.from("path=/x")] }
  },
  { name: `${name}-host.local`, ttl, isUnique: true, data: { type: "A", address } }
]

const goodbye = (address: string) => response(records(address).slice(0, 3).map((one) => ({ ...one, ttl: 0 })))

const isThere = ({ services }: { readonly services: ReadonlyMap<string, unknown> }) => services.has("ship")

describe("a service", () => {
  it("that is there is found by asking, and one that comes by being heard", () => {
    const network = new VirtualNetwork()
    const first = network.responder([link(1)])
    first.party.publish(offer("ship", { txt: [Buffer.from("path=/x")] }), Infinity, network.now)
    network.run(minute)
    const { services } = network.browser([link(2)])
    network.run(second)
    assert.deepStrictEqual(Array.from(services.values(), (service) => ({ ...service, txt: textOf(service) })), [
      {
        instance: "ship",
        link: link(2),
        port: 8080,
        priority: 0,
        weight: 0,
        addresses: ["10.0.0.1"],
        txt: "path=/x"
      }
    ])
    const second_ = network.responder([link(3)])
    second_.party.publish(offer("boat 1.0"), Infinity, network.now)
    network.run(2 * second)
    assert.deepStrictEqual(Array.from(services.keys()), ["ship", "boat 1.0"])
  })

  it("M1 that says goodbye is gone a second later, and proven so", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.run(second)
    network.say(response(records("10.0.0.9")))
    network.run(10)
    assert.isTrue(isThere(browser))
    network.say(goodbye("10.0.0.9"))
    network.run(second)
    assert.isTrue(isThere(browser))
    network.run(1)
    assert.deepStrictEqual(browser.log.at(-1), {
      at: network.now,
      found: { _tag: "Gone", instance: "ship", how: "deregistered" }
    })
  })

  it("M1 that says goodbye and comes back within the second was never away", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.say(response(records("10.0.0.9")))
    network.run(10)
    network.say(goodbye("10.0.0.9"))
    network.run(900)
    network.say(response(records("10.0.0.9")))
    network.run(minute)
    assert.deepStrictEqual(browser.log.map(({ found }) => found._tag), ["There"])
  })

  it("M2 that crashed is asked for at 80, 85, 90 and 95 % of its TTL, then it has expired", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.run(2 * minute)
    const from = network.now + 1
    network.say(response(records("10.0.0.9")))
    network.run(2 * minute + 10)
    const asked = questions(network.sent).filter(({ asked, at }) =>
      at > from && at < from + 2 * minute && asked === "SRV ship"
    )
    const shares = asked.map(({ at }) => (at - from) / (2 * minute))
    assert.strictEqual(shares.length, 4)
    for (const [index, share] of shares.entries()) {
      assert.isAtLeast(share, 0.8 + 0.05 * index)
      assert.isAtMost(share, 0.82 + 0.05 * index)
    }
    assert.deepStrictEqual(browser.log.at(-1), {
      at: from + 2 * minute,
      found: { _tag: "Gone", instance: "ship", how: "expired" }
    })
  })

  it("M2 that is there is asked once a TTL, and stays", () => {
    const network = new VirtualNetwork()
    network.responder([link(1)]).party.publish(offer("ship"), Infinity, network.now)
    const browser = network.browser([link(2)])
    network.run(hour)
    assert.deepStrictEqual(browser.log.map(({ found }) => found._tag), ["There"])
    const asked = questions(network.sent).filter(({ asked }) => asked === "SRV ship")
    assert.isAtMost(asked.length, hour / (0.8 * 120 * second))
  })

  it("M3 that moved to another address is at the new one at once, and the old one is forgotten after a second", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.say(response(records("10.0.0.9")))
    network.run(2 * second)
    network.say(response(records("10.0.0.10").slice(3)))
    network.run(10)
    assert.deepStrictEqual(browser.services.get("ship")?.addresses, ["10.0.0.10"])
    network.run(minute)
    assert.deepStrictEqual(browser.log.map(({ found }) => found._tag), ["There", "There"])
  })

  it("M3 that has two addresses has both, whether they come in one message or two", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    const [, , , other] = records("10.0.0.10")
    network.say(response(records("10.0.0.9")))
    network.run(500)
    network.say(response(other === undefined ? [] : [other]))
    network.run(minute)
    assert.sameMembers(Array.from(browser.services.get("ship")?.addresses ?? []), ["10.0.0.9", "10.0.0.10"])
  })

  it("M4 whose records come in any order and any messages is there once all of them are", () => {
    const all = records("10.0.0.9")
    const orders = fc.tuple(
      fc.shuffledSubarray(Array.from(all), { minLength: all.length }),
      fc.array(fc.boolean(), { minLength: 3, maxLength: 3 })
    )
    fc.assert(fc.property(orders, ([order, cuts]) => {
      const network = new VirtualNetwork()
      const browser = network.browser([link(1)])
      network.run(10 * second)
      const messages: Array<Array<Resource>> = [[]]
      for (const [index, resource] of order.entries()) {
        messages.at(-1)?.push(resource)
        if (cuts[index] === true) messages.push([])
      }
      for (const [index, message] of messages.entries()) {
        assert.strictEqual(isThere(browser), false)
        network.say(index % 2 === 0 ? response(message) : response([], message))
        network.run(300)
        if (messages.slice(index + 1).every((rest) => rest.length === 0)) break
      }
      assert.isTrue(isThere(browser))
      assert.strictEqual(browser.log.length, 1)
    }))
  })

  it("M4 whose records get lost is completed by asking, and not for ever", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.run(10 * second)
    const from = network.sent.length
    const [pointer, ...rest] = records("10.0.0.9")
    network.say(response(pointer === undefined ? [] : [pointer]))
    network.run(minute)
    const asked = questions(network.sent.slice(from)).filter(({ asked }) => asked.endsWith("ship"))
    assert.deepStrictEqual(
      asked.map(({ asked }) => asked),
      Array.from({ length: 4 }, () => ["SRV ship", "TXT ship"]).flat()
    )
    network.say(response(rest))
    network.run(10)
    assert.isTrue(isThere(browser))
  })

  it("M6 that is on a link that went is gone, which proves nothing; it is found again when the link is back", () => {
    const network = new VirtualNetwork()
    network.responder([link(1, 1)]).party.publish(offer("ship"), Infinity, network.now)
    network.responder([link(1, 2)]).party.publish(offer("boat"), Infinity, network.now)
    const links = [link(2, 1), link(2, 2)]
    const browser = network.browser(links)
    network.run(10 * second)
    assert.sameMembers(Array.from(browser.services.keys()), ["ship", "boat"])
    browser.relink(links.slice(1))
    network.run(10)
    assert.deepStrictEqual(browser.log.at(-1)?.found, { _tag: "Gone", instance: "ship", how: "unknown" })
    browser.relink([...links.slice(1), link(2, 1)])
    network.run(second)
    assert.sameMembers(Array.from(browser.services.keys()), ["ship", "boat"])
  })

  it("M6 that is on two links is one, and stays when one of them goes", () => {
    const network = new VirtualNetwork()
    network.responder([link(1, 1), link(1, 2)]).party.publish(offer("ship"), Infinity, network.now)
    const links = [link(2, 1), link(2, 2)]
    const browser = network.browser(links)
    network.run(10 * second)
    assert.deepStrictEqual(browser.services.get("ship")?.addresses, ["10.0.1.1"])
    browser.relink(links.slice(1))
    network.run(10 * second)
    assert.deepStrictEqual(browser.services.get("ship")?.addresses, ["10.0.2.1"])
    assert.isFalse(browser.log.some(({ found }) => found._tag === "Gone"))
  })

  it("M10 whose pointer is good for 75 minutes is gone when its host is not heard of for two", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.say(response(records("10.0.0.9", { ptr: 4500, ttl: 120 })))
    network.run(2 * minute + 10)
    assert.isFalse(isThere(browser))
  })

  it("that was doubted is said again, each time after twice as long, up to a minute", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.responder([link(2)]).party.publish(offer("ship"), Infinity, network.now)
    network.run(2 * second)
    const times: Array<number> = []
    for (let doubts = 0; doubts < 9; doubts++) {
      const service = browser.services.get("ship")
      if (service !== undefined) browser.party.doubt(service, network.now)
      const from = network.now
      const said = browser.log.length
      while (browser.log.length === said) network.run(100)
      times.push(Math.round((network.now - from) / second))
    }
    assert.deepStrictEqual(times, [1, 2, 4, 8, 16, 32, 60, 60, 60])
  })
})

describe("a browser", () => {
  it("asks less and less often", () => {
    const network = new VirtualNetwork()
    network.browser([link(1)])
    network.run(6 * hour)
    const times = questions(network.sent).map(({ at }) => Math.round(at / second))
    assert.deepStrictEqual(times.slice(0, 7), [0, 1, 3, 7, 15, 31, 63])
    assert.isAtMost(times.length, 20)
  })

  it("M8 names what it knows, so that nobody says it again", () => {
    const network = new VirtualNetwork()
    const { party } = network.responder([link(1)])
    party.publish(offer("ship"), Infinity, network.now)
    network.browser([link(2)])
    network.run(minute)
    const known = network.sent.filter(({ message }) => message.questions.some(({ type }) => type === "PTR"))
      .map(({ message }) => message.answers.length)
    assert.deepStrictEqual(known.slice(0, 3), [0, 1, 1])
    const answers = network.sent.filter(({ at, message }) => at > 10 * second && message.isResponse)
    assert.deepStrictEqual(answers, [])
  })

  it("M8 names what it knows in several messages where one is too short", () => {
    const network = new VirtualNetwork()
    network.browser([link(1)])
    for (let n = 0; n < 100; n++) network.say(response(records("10.0.0.9", { name: `ship number ${n}` })))
    network.run(200)
    const asked = network.sent.filter(({ link: { address }, message }) =>
      address === "10.0.0.1" && message.answers.length > 0
    )
    assert.isAbove(asked.length, 2)
    assert.deepStrictEqual(asked.map(({ message }) => message.isTruncated), asked.map((_, n) => n < asked.length - 1))
    assert.strictEqual(
      new Set(asked.flatMap(({ message }) => message.answers.map(({ data }) => JSON.stringify(data)))).size,
      100
    )
  })

  it("M9 believes nothing from another port, no question, and nobody for longer than 75 minutes", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.run(second)
    network.say(response(records("10.0.0.9")), link(99), { address: "10.0.0.99", port: 5354 })
    network.say(query([], { answers: records("10.0.0.9") }))
    network.run(second)
    assert.isFalse(isThere(browser))
    network.say(response(records("10.0.0.9", { ptr: 2 ** 32 - 1, ttl: 2 ** 31 })))
    network.run(74 * minute)
    assert.isTrue(isThere(browser))
    network.run(minute + 10)
    assert.isFalse(isThere(browser))
  })

  it("M9 is bounded, whatever is announced", () => {
    const network = new VirtualNetwork()
    const browser = network.browser([link(1)])
    network.run(second)
    for (let n = 0; n < 6000; n++) {
      const address = `10.0.${n >> 8}.${n & 255}`
      network.say(response([{ name: `h${n}.local`, ttl: 120, isUnique: false, data: { type: "A", address } }]))
    }
    network.run(10)
    for (let n = 0; n < 2000; n++) network.say(response(records("10.0.0.9", { name: `ship ${n}` })))
    network.run(10)
    assert.isAtMost(browser.services.size, 1024)
    assert.isAbove(browser.services.size, 400)
  })

  it("knows a service by one name, in whatever letters it is written", () => {
    const network = new VirtualNetwork()
    const { log } = network.browser([link(1)])
    for (const [name, address] of [["ship", "10.0.0.9"], ["SHIP", "10.0.0.8"], ["Ship", "10.0.0.7"]] as const) {
      const moved = records(address, { name }).map(({ data, ...rest }) => ({
        ...rest,
        data: data.type === "SRV" ? { ...data, port: address.charCodeAt(7) } : data
      }))
      network.say(response(moved))
      network.run(5 * second)
    }
    assert.deepStrictEqual(
      new Set(log.map(({ found }) => found._tag === "There" ? found.service.instance : found._tag)),
      new Set(["ship"])
    )
  })

  it("rests while nobody takes what it found", () => {
    const [eth, browser] = [link(1), new Browser({ type, port, random: () => 0.5 })]
    browser.linked([eth], 0)
    browser.hear(eth, response(records("10.0.0.9")), { address: "10.0.0.9", port }, 10)
    browser.tick(10)
    assert.isAbove(browser.due(), 10)
    assert.strictEqual(browser.changes().length, 1)
  })

  it("M9 takes some addresses of a host, however many it has", () => {
    const network = new VirtualNetwork()
    const { services } = network.browser([link(1)])
    const [, , , address] = records("10.0.0.9")
    network.say(response(records("10.0.0.9")))
    for (let n = 0; n < 1000; n++) {
      const data = { type: "A", address: `10.1.${n >> 8}.${n & 255}` } as const
      if (address !== undefined) network.say(response([{ ...address, data }]))
    }
    network.run(second)
    assert.strictEqual(services.get("ship")?.addresses.length, 64)
  })

  it("M9 looks up what it knows once a message, in whatever order that tells it", () => {
    const [eth, browser] = [link(1), new Browser({ type, port, random: () => 0.5 })]
    const from = { address: "10.0.0.9", port }
    browser.linked([eth], 0)
    for (let n = 0; n < 1300; n++) browser.hear(eth, response(records("10.0.0.9", { name: `ship ${n}` })), from, 10)
    const [pointer] = records("10.0.0.9", { name: "ship 0" })
    if (pointer === undefined) return assert.fail()
    // Each is different from the one before, and a stranger's address asks who is known.
    const flood = Array.from({ length: 200 }, (_, n): ReadonlyArray<Resource> => [
      { ...pointer, ttl: 0 },
      pointer,
      { name: `stranger ${n}.local`, ttl: 120, isUnique: false, data: { type: "A", address: "10.0.0.8" } }
    ]).flat()
    const get = vi.spyOn(Cache.prototype, "get")
    browser.hear(eth, response(flood), from, 20)
    const { length } = get.mock.calls
    get.mockRestore()
    assert.isBelow(length, 10_000)
  })
})
