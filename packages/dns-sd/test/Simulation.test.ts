/** Many hosts on a network that loses, delays and doubles what they say: in the end everybody knows who is there. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Buffer } from "node:buffer"
import type { Published } from "../src/internal/responder.ts"
import { link, offer, textOf, VirtualNetwork } from "./VirtualNetwork.ts"

const second = 1000

interface Host {
  readonly responder: ReturnType<VirtualNetwork["responder"]>
  published: Published | undefined
  version: number
}

const what = fc.constantFrom("publish", "change", "withdraw", "crash", "unplug", "plug")
const commands = fc.array(
  fc.record({ what, host: fc.nat(3), pause: fc.integer({ min: 0, max: 20 * second }) }),
  { maxLength: 40 }
)

/** Runs the commands on four hosts that announce, watched by two that browse, one of them from the middle on. */
const simulate = (
  seed: number,
  losses: number,
  commands: ReadonlyArray<{ what: string; host: number; pause: number }>
) => {
  let state = seed
  const random = () => (state = state * 48271 % 2147483647) / 2147483647
  const network = new VirtualNetwork(random)
  network.travel = () =>
    [random(), random()].flatMap((chance, copy) => chance < (copy === 0 ? losses : 0.9) ? [] : [random() * 100])
  const wire = link(1)
  const hosts = new Map<number, Host>()
  const browsers = [network.browser([link(50)])]
  let port = 8000
  for (const [index, { host: n, pause, what }] of commands.entries()) {
    const host = hosts.get(n) ?? { responder: network.responder([wire]), published: undefined, version: 0 }
    hosts.set(n, host)
    const its = (): Parameters<typeof offer>[1] => ({ port, txt: [Buffer.from(`v=${++host.version}`)] })
    switch (what) {
      case "publish":
        port++
        host.published ??= host.responder.party.publish(offer(`ship ${n % 2}`, its()), Infinity, network.now)
        break
      case "change":
        if (host.published === undefined) break
        host.published = host.responder.party.publish(
          { ...host.published.offer, ...its(), port: host.published.offer.port },
          Infinity,
          network.now,
          host.published
        )
        break
      case "withdraw":
        if (host.published !== undefined) host.responder.party.withdraw(host.published)
        host.published = undefined
        break
      case "crash":
        host.responder.crash()
        hosts.delete(n)
        break
      case "unplug":
        host.responder.relink([])
        break
      case "plug":
        host.responder.relink([wire])
    }
    if (index === commands.length >> 1) browsers.push(network.browser([link(51)]))
    network.run(pause)
  }
  for (const host of hosts.values()) host.responder.relink([wire])
  // What was lost of the last announcements is found with the next question, at the latest when a TTL is over.
  network.travel = () => [random() * 100]
  network.run(400 * second)
  const truth = Array.from(hosts.values()).flatMap(({ published }) =>
    published === undefined
      ? []
      : [`${published.instance} ${published.offer.port} ${
        published.offer.txt.map((text) => Buffer.from(text).toString()).join()
      }`]
  ).sort()
  return {
    truth,
    views: browsers.map(({ services }) =>
      Array.from(services.values(), (service) => `${service.instance} ${service.port} ${textOf(service)}`).sort()
    ),
    network
  }
}

describe("after whatever happened", () => {
  it("everybody knows who is there, and by one name each", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 31 - 2 }),
        fc.double({ min: 0, max: 0.4, noNaN: true }),
        commands,
        (seed, losses, commands) => {
          const { truth, views } = simulate(seed, losses, commands)
          for (const view of views) assert.deepStrictEqual(view, truth)
          assert.strictEqual(new Set(truth.map((line) => line.replace(/ \d+ v=\d+$/, ""))).size, truth.length)
        }
      ),
      { numRuns: 200 }
    )
  })

  it("a quiet network is quiet", () => {
    const { network } = simulate(
      1,
      0,
      Array.from({ length: 4 }, (_, host) => ({ what: "publish", host, pause: second }))
    )
    const from = network.sent.length
    network.run(3600 * second)
    // Four services with a TTL of two minutes: each reader asks for each once a TTL, and one answers.
    assert.isAtMost(network.sent.length - from, 2 * 4 * 3600 / 96 * 2)
  })
})
