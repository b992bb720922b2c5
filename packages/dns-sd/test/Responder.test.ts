/** How services are announced, on a network without sockets. */
import { assert, describe, it } from "@effect/vitest"
import { Buffer } from "node:buffer"
import { query, type Question, type Resource, response } from "../src/internal/message.ts"
import type { Published } from "../src/internal/responder.ts"
import { link, offer, port, type Sent, VirtualNetwork } from "./VirtualNetwork.ts"

const second = 1000
const minute = 60 * second

const pointers: Question = { name: "_mcp._tcp.local", type: "PTR" }
const pointer = (ttl: number): Resource => ({
  name: "_mcp._tcp.local",
  ttl,
  isUnique: false,
  data: { type: "PTR", target: "ship._mcp._tcp.local" }
})
const server = (name: string, port: number, ttl = 120): Resource => ({
  name: `${name}._mcp._tcp.local`,
  ttl,
  isUnique: true,
  data: { type: "SRV", priority: 0, weight: 0, port, target: "elsewhere.local" }
})

const kindOf = ({ message }: Sent): string =>
  message.isResponse
    ? message.answers.every(({ ttl }) => ttl === 0) ? "goodbye" : "announcement"
    : message.authorities.length > 0
    ? "probe"
    : "question"

/** A responder with one service, and what the network heard from it. */
const setUp = (random?: () => number) => {
  const network = new VirtualNetwork(random)
  const host = network.responder([link(1)])
  const published = host.party.publish(offer("ship"), Infinity, network.now)
  return { network, published, responder: host.party, sent: network.sent }
}

const answers = (sent: ReadonlyArray<Sent>, from: number) =>
  sent.slice(from).filter(({ message }) => message.isResponse).map(({ at, message, to }) => ({
    at,
    to,
    answers: message.answers.map(({ data }) => data.type),
    additionals: message.additionals.map(({ data }) => data.type)
  }))

describe("a service", () => {
  it("is probed for three times, announced three times, then nothing is said", () => {
    const { network, sent } = setUp()
    network.run(60 * minute)
    assert.deepStrictEqual(sent.map((one) => `${Math.round(one.at)} ${kindOf(one)}`), [
      "125 probe",
      "375 probe",
      "625 probe",
      "875 announcement",
      "1875 announcement",
      "2875 announcement"
    ])
  })

  it("is found by whoever asks, with all that is needed in one message", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = sent.length
    const asked = network.now
    network.say(query([pointers]))
    network.run(second)
    const [answer, ...more] = answers(sent, from)
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual(answer?.answers, ["PTR"])
    assert.deepStrictEqual(answer?.additionals, ["SRV", "TXT", "A"])
    assert.isAtLeast(answer?.at ?? 0, asked + 20)
    assert.isAtMost(answer?.at ?? Infinity, asked + 122)
  })

  it("is told of as one of the types that there are", () => {
    const { network, sent } = setUp()
    network.run(minute)
    network.say(query([{ name: "_services._dns-sd._udp.local", type: "PTR" }]))
    network.run(second)
    assert.deepStrictEqual(sent.at(-1)?.message.answers.map(({ data }) => data), [{
      type: "PTR",
      target: "_mcp._tcp.local"
    }])
  })

  it("that changes is announced anew at once", () => {
    const { network, published, responder, sent } = setUp()
    network.run(minute)
    const from = sent.length
    responder.publish(offer("ship", { txt: [Buffer.from("status=draining")] }), Infinity, network.now, published)
    network.run(1)
    assert.deepStrictEqual(answers(sent, from).map(({ answers }) => answers), [["PTR", "SRV", "TXT", "A"]])
  })

  it("M1 that ends says goodbye, to its own records alone", () => {
    const { network, published, responder, sent } = setUp()
    network.run(minute)
    const from = sent.length
    responder.withdraw(published)
    network.run(minute)
    assert.deepStrictEqual(answers(sent, from).map(({ answers }) => answers), [["PTR", "SRV", "TXT"]])
    assert.strictEqual(sent.slice(from).map(kindOf).join(), "goodbye")
  })

  it("that is not kept ends when its time has come", () => {
    const network = new VirtualNetwork()
    const { party } = network.responder([link(1)])
    const published = party.publish(offer("ship"), 30 * second, network.now)
    network.run(20 * second)
    assert.isTrue(party.prolong(published, 50 * second))
    network.run(20 * second)
    assert.notStrictEqual(network.sent.map(kindOf).at(-1), "goodbye")
    network.run(11 * second)
    assert.strictEqual(network.sent.map(kindOf).at(-1), "goodbye")
    assert.strictEqual(network.sent.at(-1)?.at, 50 * second)
    assert.isFalse(party.prolong(published, 100 * second))
  })

  it("that was said goodbye to by another is announced again", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = sent.length
    network.say(response([pointer(0)]))
    network.run(second)
    assert.deepStrictEqual(sent.slice(from).map(kindOf), ["goodbye", "announcement"])
  })

  it("that many say goodbye to is announced again four times a second at most", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = sent.length
    for (let n = 0; n < 1000; n++) {
      network.say(response([pointer(0)]))
      network.run(2)
    }
    assert.isAtMost(sent.slice(from).filter((one) => kindOf(one) === "announcement").length, 9)
  })

  it("M6 is probed for and announced on a link that comes", () => {
    const network = new VirtualNetwork()
    const host = network.responder([link(1, 1)])
    const published = host.party.publish(offer("ship"), Infinity, network.now)
    network.run(minute)
    const from = network.sent.length
    host.relink([link(1, 2)])
    network.run(minute)
    const after = network.sent.slice(from)
    assert.deepStrictEqual(after.map(kindOf).slice(0, 4), ["probe", "probe", "probe", "announcement"])
    assert.isTrue(after.every(({ link: { name } }) => name === "eth2"))
    assert.strictEqual(published.instance, "ship")
  })

  it("is not told of where it isn't reached", () => {
    const network = new VirtualNetwork()
    const { party } = network.responder([link(1, 1), link(1, 2)])
    party.publish(
      offer("ship", { addressOn: ({ name }) => name === "eth1" ? "10.0.1.1" : undefined }),
      Infinity,
      network.now
    )
    network.run(minute)
    assert.isTrue(network.sent.every(({ link: { name } }) => name === "eth1"))
  })
})

describe("M5 a name that is taken", () => {
  it("stays with who has it; who comes later is the second", () => {
    const { network, published } = setUp()
    network.run(minute)
    const other = network.responder([link(2)]).party.publish(offer("ship", { port: 9090 }), Infinity, network.now)
    const third = network.responder([link(3)]).party.publish(offer("Ship", { port: 9091 }), Infinity, network.now)
    network.run(minute)
    // Of two who ask for the same at once, the one whose record is the later in order.
    assert.deepStrictEqual([published, other, third].map(({ instance }) => instance), ["ship", "ship (3)", "Ship (2)"])
  })

  it("is had by one of those who want it at the same time, whatever the moment and the losses", () => {
    let seed = 1
    const random = () => (seed = seed * 48271 % 2147483647) / 2147483647
    for (let run = 0; run < 100; run++) {
      const network = new VirtualNetwork(random)
      network.travel = () => random() < 0.1 ? [] : [random() * 20]
      const all = [1, 2, 3].map((n) =>
        network.responder([link(n)]).party.publish(offer("ship", { port: 9000 + n }), Infinity, network.now)
      )
      // What all of an announcement's messages miss is found when somebody asks.
      for (let minutes = 0; minutes < 5; minutes++) {
        network.run(minute)
        network.say(query([pointers]))
      }
      network.run(minute)
      const names = all.map(({ instance }) => instance)
      assert.strictEqual(new Set(names).size, 3, `run ${run}: ${names.join()}`)
    }
  })

  it("is found out when two networks become one", () => {
    const network = new VirtualNetwork()
    const one = network.responder([link(1, 1)]).party.publish(offer("ship"), Infinity, network.now)
    const other = network.responder([link(2, 2)])
    const its = other.party.publish(offer("ship", { port: 9090 }), Infinity, network.now)
    network.run(minute)
    assert.deepStrictEqual([one.instance, its.instance], ["ship", "ship"])
    other.relink([link(2, 1)])
    network.run(minute)
    assert.deepStrictEqual([one.instance, its.instance], ["ship", "ship (2)"])
  })

  it("stays short enough", () => {
    const network = new VirtualNetwork()
    const name = "ü".repeat(31)
    const [, second_] = [1, 2].map((n) =>
      network.responder([link(n)]).party.publish(offer(name, { port: 9000 + n }), Infinity, network.now)
    )
    network.run(minute)
    assert.isAtMost(Buffer.byteLength(second_?.instance ?? ""), 63)
  })

  it("by who takes every name is given up slowly", () => {
    const network = new VirtualNetwork()
    const { party } = network.responder([link(1)])
    const published = party.publish(offer("ship"), Infinity, network.now)
    let probes = 0
    for (let tick = 0; tick < 6000; tick++) {
      network.run(10)
      const all = network.sent.filter((one) => kindOf(one) === "probe").length
      if (all > probes) network.say(response([server(published.instance, 1)]))
      probes = all
    }
    // Fifteen at once, then one in five seconds; none is ever announced.
    assert.isAbove(probes, 15)
    assert.isAtMost(probes, 30)
  })
})

describe("M7 what we send and hear", () => {
  const names = (all: ReadonlyArray<Published>) => all.map(({ instance }) => instance)

  it("is no conflict, though it comes late and twice and was changed meanwhile", () => {
    const network = new VirtualNetwork()
    network.travel = () => [5, 400]
    const { party } = network.responder([link(1)])
    const published = party.publish(offer("ship"), Infinity, network.now)
    network.run(5 * second)
    for (let n = 0; n < 20; n++) {
      party.publish(
        offer("ship", { txt: [Buffer.from(`n=${n}`)], port: 8080 + n % 3 }),
        Infinity,
        network.now,
        published
      )
      network.run(50)
    }
    network.run(minute)
    assert.deepStrictEqual(names([published]), ["ship"])
    assert.isAtMost(network.sent.filter((one) => kindOf(one) === "probe").length, 3)
    // Nor does it answer itself for ever.
    const from = network.sent.length
    network.run(60 * minute)
    assert.strictEqual(network.sent.length, from)
  })

  it("is no conflict with another program of this machine that announces the same server", () => {
    const network = new VirtualNetwork()
    const all = [1, 2].map(() => {
      const { party } = network.responder([link(1)])
      const published = party.publish(offer("ship", { txt: [Buffer.from("n=1")] }), Infinity, network.now)
      network.run(10 * second)
      return published
    })
    network.run(minute)
    assert.deepStrictEqual(names(all), ["ship", "ship"])
  })
})

describe("an answer", () => {
  it("M8 that is known is not given, unless it is about to be forgotten", () => {
    const { network, sent } = setUp()
    network.run(minute)
    for (const [ttl, given] of [[120, 0], [60, 0], [59, 1]] as const) {
      const from = sent.length
      network.say(query([pointers], { answers: [pointer(ttl)] }))
      network.run(10 * second)
      assert.strictEqual(answers(sent, from).length, given, `${ttl} s`)
    }
  })

  it("M8 that is known by what follows a question is not given either", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = sent.length
    network.say({ ...query([pointers]), isTruncated: true })
    network.run(100)
    network.say(query([], { answers: [pointer(120)] }))
    network.run(10 * second)
    assert.deepStrictEqual(answers(sent, from), [])
  })

  it("is given once a second, however often it is asked for", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = sent.length
    for (let n = 0; n < 5000; n++) {
      network.say(query([pointers]))
      network.run(2)
    }
    assert.isAtMost(answers(sent, from).length, 11)
  })

  it("goes to the one who asks where that one doesn't listen to the group", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = { address: "10.0.0.50", port: 40_000 }
    network.say({ ...query([pointers]), id: 77 }, link(50), from)
    network.run(second)
    const { message, to } = sent.at(-1) ?? {}
    assert.deepStrictEqual(to, from)
    assert.strictEqual(message?.id, 77)
    assert.deepStrictEqual(message?.questions, [pointers])
    assert.isTrue(
      [...message?.answers ?? [], ...message?.additionals ?? []].every(({ isUnique, ttl }) => ttl <= 10 && !isUnique)
    )
  })

  it("M9 is not given to one who asks a thousand things at once, or from no port", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = sent.length
    const many = Array.from({ length: 1400 }, () => pointers)
    network.say(query(many), link(50), { address: "10.0.0.50", port: 40_000 })
    network.say(query([pointers]), link(50), { address: "10.0.0.50", port: 0 })
    network.run(second)
    assert.deepStrictEqual(answers(sent, from), [])
  })

  it("is not given to what nobody asked of us", () => {
    const { network, sent } = setUp()
    network.run(minute)
    const from = sent.length
    network.say(query([{ name: "_http._tcp.local", type: "PTR" }, { name: "boat._mcp._tcp.local", type: "ANY" }]))
    network.say(response([server("boat", 1)]))
    network.say(response([server("ship", 1)]), link(9), { address: "10.0.0.9", port: port + 1 })
    network.run(minute)
    assert.deepStrictEqual(answers(sent, from).filter(({ at }) => at > minute + 1), [])
  })
})
