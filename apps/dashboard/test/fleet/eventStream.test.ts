import * as fc from "fast-check"
import { afterEach, describe, expect, it, vi } from "vitest"
import type { Event } from "../../src/api/types.ts"
import { EventStream, type Message, MessageReader } from "../../src/fleet/eventStream.ts"
import type { Connection } from "../../src/fleet/rows.ts"
import { serve, type Served, text } from "./served.ts"

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

  it("tells a silence of 5 s, and gives the connection up after 15 s", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })
    ends.push(() => void vi.useRealTimers())
    const { asked, gateway, send, url, watcher } = await served()
    const { connections, lost } = listen(url)
    const live = () => vi.waitFor(() => expect(connections.at(-1)?.state).toBe("live"), { timeout: 4_000, interval: 0 })
    await live()
    vi.advanceTimersByTime(4_400)
    expect(lost()).toEqual([])
    vi.advanceTimersByTime(600)
    expect(lost()).toMatchObject([{ state: "lost", heard: expect.any(Number), error: "no word for 5 s" }])
    // One that is merely late goes on, and isn't asked for everything anew.
    send(gateway.beat())
    await live()
    expect(asked.length).toBe(1)
    vi.advanceTimersByTime(15_000)
    await watcher()
    await live()
    expect(lost().map(({ error }) => error)).toEqual(["no word for 5 s", "no word for 5 s", "no word for 15 s"])
  })

  it("doesn't take a while in which it stood still itself for silence", async () => {
    const { gateway, send, url } = await served()
    const { connections, events, lost } = listen(url)
    await vi.waitFor(() => expect(events.length).toBe(1), within)
    send(gateway.beat())
    for (const end = Date.now() + 5_600; Date.now() < end;);
    await vi.waitFor(() => expect(events.length).toBe(2), within)
    expect(lost()).toEqual([])
    expect(connections.at(-1)?.state).toBe("live")
  })

  it("keeps no connection on which something can't be taken, and says what", async () => {
    const { gateway, url, watchers } = await served()
    const { connections, events, lost } = listen(url, ({ event }) => {
      if (event === "catalog") throw new TypeError("there is no such place")
      return true
    })
    await vi.waitFor(() => expect(events.length).toBe(1), within)
    for (const sent of [text(gateway.announce("a", "weather", "file")), "event: beat\ndata: {bad\n\n"]) {
      const before = Array.from(watchers)
      for (const watcher of before) watcher.write(sent)
      await vi.waitFor(() => expect(before.some((watcher) => watchers.has(watcher))).toBe(false), within)
      await vi.waitFor(() => expect(connections.at(-1)?.state).toBe("live"), within)
      expect(watchers.size).toBe(1)
    }
    expect(lost().map((connection) => connection.error)).toEqual([
      "an event can't be read: there is no such place",
      expect.stringMatching(/^an event can't be read: .*JSON/)
    ])
  })

  it("takes nothing else than events for the gateway", async () => {
    const gateway = await served()
    gateway.greet = (response) => {
      response.writeHead(200, { "content-type": "text/html" })
      response.write("<h1>Sign in</h1>\n")
    }
    const { connections, lost } = listen(gateway.url)
    await vi.waitFor(() => expect(lost()).toMatchObject([{ error: "something else than the gateway answers" }]), within)
    expect(connections.map(({ state }) => state)).toEqual(["connecting", "lost"])
    await vi.waitFor(() => expect(gateway.watchers.size).toBe(0), within)
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
