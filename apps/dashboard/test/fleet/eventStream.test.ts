import * as fc from "fast-check"
import { afterEach, describe, expect, it, vi } from "vitest"
import type { Event } from "../../src/api/types.ts"
import { EventStream, type Message, MessageReader } from "../../src/fleet/eventStream.ts"
import type { Connection } from "../../src/fleet/rows.ts"
import { serve, type Served } from "./served.ts"

const ends: Array<() => void | Promise<void>> = []
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})

const served = async (port?: number): Promise<Served> => {
  const made = await serve(port)
  ends.push(made.close)
  return made
}

const listen = (url: string, known: (event: Event) => boolean = () => true) => {
  const events: Array<Event> = []
  const connections: Array<Connection> = []
  const stream = new EventStream(`${url}api/v1/events`, {
    event: (event) => {
      events.push(event)
      return known(event)
    },
    connection: (connection) => connections.push(connection)
  })
  ends.push(() => stream.stop())
  const lost = () => connections.filter((connection) => connection.state === "lost")
  return { connections, events, lost, stream }
}

const within = { timeout: 8_000, interval: 10 }

describe("messages", () => {
  it("are the same however the stream is cut", () => {
    const sent =
      "retry: 2000\r\n\r\n: a comment\nid: x.1\nevent: beat\ndata: {\ndata: }\n\nevent:ping\ndata\n\nid: 2\n\n"
    const whole = new MessageReader()
    const messages = whole.read(sent)
    expect(messages).toEqual([
      { event: "beat", id: "x.1", data: "{\n}" },
      { event: "ping", id: undefined, data: "" }
    ])
    expect(whole.retry).toBe(2000)
    fc.assert(fc.property(fc.array(fc.nat(sent.length)), (cuts) => {
      const reader = new MessageReader()
      const read: Array<Message> = []
      const places = [0, ...cuts.sort((a, b) => a - b), sent.length]
      for (const [n, place] of places.entries()) read.push(...reader.read(sent.slice(place, places[n + 1] ?? place)))
      expect(read).toEqual(messages)
    }))
  })
})

describe("event stream", () => {
  it("tells events, and that it lives", async () => {
    const { gateway, send, url } = await served()
    const { connections, events } = listen(url)
    await vi.waitFor(() => expect(events.map(({ event }) => event)).toEqual(["snapshot"]), within)
    send(gateway.announce("a", "weather", "file"))
    await vi.waitFor(() => expect(events.at(-1)).toMatchObject({ event: "catalog", id: "run.1" }), within)
    expect(connections[0]?.state).toBe("connecting")
    expect(connections.at(-1)?.state).toBe("live")
  })

  it("comes back with the id of the last event, soon", async () => {
    const { asked, gateway, send, url, watcher, watchers } = await served()
    const { connections, events, lost } = listen(url)
    await vi.waitFor(() => expect(events.length).toBe(1), within)
    send(gateway.announce("a", "weather", "file"))
    await vi.waitFor(() => expect(events.length).toBe(2), within)
    const back = watcher()
    for (const each of watchers) each.end()
    await back
    expect(asked.map((headers) => headers["last-event-id"])).toEqual([undefined, "run.1"])
    await vi.waitFor(() => expect(connections.at(-1)?.state).toBe("live"), within)
    expect(lost()).toMatchObject([{ state: "lost", heard: expect.any(Number), error: "the gateway ended the stream" }])
  })

  it("asks for everything where events are missing", async () => {
    const { asked, gateway, send, url, watcher } = await served()
    const { events } = listen(url, ({ event }) => event !== "catalog")
    await vi.waitFor(() => expect(events.length).toBe(1), within)
    const back = watcher()
    send(gateway.announce("a", "weather", "file"))
    await back
    expect(asked.at(-1)?.["last-event-id"]).toBeUndefined()
  })

  it("gives up a connection that says nothing for 5 s", async () => {
    const { url, watcher } = await served()
    const { connections, events, lost } = listen(url)
    await vi.waitFor(() => expect(events.length).toBe(1), within)
    const heard = Date.now()
    await watcher()
    expect(Date.now() - heard).toBeGreaterThan(5_000)
    expect(lost()[0]).toMatchObject({ error: "no word for 5 s" })
    await vi.waitFor(() => expect(connections.at(-1)?.state).toBe("live"), within)
  })

  it("says why it is refused, and tries again when told to", async () => {
    const gateway = await served()
    const { greet } = gateway
    gateway.greet = (response) => {
      response.writeHead(503, { "content-type": "application/problem+json" })
      response.end(JSON.stringify({ detail: "64 clients watch already, the limit; try again later" }))
    }
    const { events, lost, stream } = listen(gateway.url)
    await vi.waitFor(() => expect(lost()).toMatchObject([{ error: /^64 clients watch already/ }]), within)
    gateway.greet = greet
    stream.retry()
    await vi.waitFor(() => expect(events.length).toBe(1), within)
  })

  it("is there again within 3 s of a gateway that comes back, and leaves aside what it doesn't know", async () => {
    const before = await serve()
    const { connections, events, lost } = listen(before.url)
    await vi.waitFor(() => expect(events.length).toBe(1), within)
    await before.close()
    // It failed a few times meanwhile.
    await vi.waitFor(() => expect(lost().length).toBeGreaterThan(2), within)
    const back = Date.now()
    const after = await served(Number(new URL(before.url).port))
    await after.watcher()
    expect(Date.now() - back).toBeLessThan(3_000)
    for (const watcher of after.watchers) watcher.write("event: news\ndata: {}\n\n")
    after.send(after.gateway.source("file", "connected"))
    await vi.waitFor(() => expect(events.at(-1)?.event).toBe("sources"), within)
    expect(connections.at(-1)?.state).toBe("live")
    expect(events.map(({ event }) => event)).toEqual(["snapshot", "snapshot", "sources"])
  })
})
