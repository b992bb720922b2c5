import { afterEach, describe, expect, it, vi } from "vitest"
import { Hub, type Port } from "../../src/fleet/hub.ts"
import type { Connection, Frame, FromWorker, InstanceRow } from "../../src/fleet/rows.ts"
import { empty, withFrame } from "../../src/fleet/view.ts"
import { serve, type Served } from "./served.ts"

const ends: Array<() => void | Promise<void>> = []
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})

const within = { timeout: 8_000, interval: 5 }

/** A page that applies its frames and says so, unless it is `busy`. */
const page = (hub: Hub, { url }: Served, open = true) => {
  const frames: Array<{ readonly at: number; readonly frame: Frame }> = []
  const connections: Array<Connection> = []
  let view = empty
  let busy = false
  const port: Port = {
    postMessage: (sent) => {
      const message: FromWorker = structuredClone(sent)
      if (message.type === "connection") return void connections.push(message.connection)
      frames.push({ at: Date.now(), frame: message.frame })
      view = withFrame(view, message.frame)
      if (!busy && message.frame.more !== true) queueMicrotask(() => hub.hear(port, { type: "seen" }))
    }
  }
  if (open) hub.hear(port, { type: "open", api: url })
  ends.push(() => void hub.hear(port, { type: "close" }))
  return {
    connections,
    frames,
    port,
    be: (state: { readonly busy: boolean }) => {
      busy = state.busy
    },
    say: (message: Parameters<Hub["hear"]>[1]) => hub.hear(port, message),
    view: () => view,
    states: () => view.instances.rows.map(({ id, state }: InstanceRow) => `${id} ${state}`)
  }
}

const begin = async (instances: ReadonlyArray<string>) => {
  const served = await serve()
  ends.push(served.close)
  // The gateway's clock is half an hour behind.
  served.gateway.now = Date.now() - 1_800_000
  served.gateway.source("file", "connected")
  for (const id of instances) {
    served.gateway.announce(id, "weather", "file")
    served.gateway.health(`file ${id}`, "healthy", "check passed")
  }
  return { served, hub: new Hub() }
}

describe("hub", () => {
  it("gives a page everything, and then what changes; status at once", async () => {
    const { hub, served } = await begin(["a", "b"])
    const one = page(hub, served)
    await vi.waitFor(() => expect(one.states()).toEqual(["a healthy", "b healthy"]), within)
    expect(one.frames.map(({ frame }) => [frame.whole, frame.more])).toEqual([[true, true], [false, false]])
    expect(Math.abs(one.frames[0]?.frame.skew ?? 0) / 1_800_000).toBeCloseTo(1, 2)
    const sent = Date.now()
    served.send(served.gateway.health("file b", "unhealthy", "refused"))
    await vi.waitFor(() => expect(one.states()).toEqual(["a healthy", "b unhealthy"]), within)
    expect((one.frames.at(-1)?.at ?? Infinity) - sent).toBeLessThan(1_000)
    expect(one.view().services.get("weather")).toMatchObject({
      state: "unhealthy",
      reason: "1 of 2 unhealthy: refused"
    })
    expect(one.connections.at(-1)?.state).toBe("live")
  })

  it("has one stream for all pages, and a new one sees what the others do, at once", async () => {
    const { hub, served } = await begin(["a"])
    const pages = [page(hub, served)]
    await vi.waitFor(() => expect(pages[0]?.states()).toEqual(["a healthy"]), within)
    for (let n = 0; n < 7; n++) {
      const next = page(hub, served)
      // Without waiting: all there is to know is known.
      expect(next.view()).toEqual(pages[0]?.view())
      pages.push(next)
    }
    served.send(served.gateway.announce("b", "weather", "file"))
    for (const each of pages) await vi.waitFor(() => expect(each.states().length).toBe(2), within)
    expect(served.asked.length).toBe(1)
    expect(served.watchers.size).toBe(1)
  })

  it("sends figures at most four times a second", async () => {
    const { hub, served } = await begin(["a"])
    const one = page(hub, served)
    await vi.waitFor(() => expect(one.view().ready).toBe(true), within)
    for (let n = 0; n < 100; n++) {
      served.gateway.now += 20
      served.send(served.gateway.call("file a", 1))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await vi.waitFor(() => expect(one.view().totals?.calls).toBe(100), within)
    const begun = one.frames[0]?.at ?? 0
    const busiest = Math.max(
      ...one.frames.map(({ at }) =>
        one.frames.filter((other) => other.at >= at && other.at < at + 1_000 && other.at > begun + 250).length
      )
    )
    expect(busiest).toBeLessThanOrEqual(5)
    expect(one.view().instances.rows[0]?.rate).toBeGreaterThan(10)
  })

  it("tells status at most four times a second too, where it changes without pause", async () => {
    const { hub, served } = await begin(["a"])
    const one = page(hub, served)
    await vi.waitFor(() => expect(one.view().ready).toBe(true), within)
    const before = one.frames.length
    const begun = Date.now()
    for (let n = 0; n < 50; n++) {
      served.send(served.gateway.health("file a", n % 2 === 0 ? "degraded" : "healthy", `change ${n}`))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await vi.waitFor(() => expect(one.view().instances.rows[0]?.reason).toBe("change 49"), within)
    expect(one.frames.length - before).toBeGreaterThan(2)
    expect(one.frames.length - before).toBeLessThanOrEqual(2 + (Date.now() - begun) / 250)
  })

  it("leaves hidden pages alone, and gives them everything when they come back", async () => {
    const { hub, served } = await begin(["a"])
    const [shown, hidden] = [page(hub, served), page(hub, served)]
    await vi.waitFor(() => expect(hidden.view().ready).toBe(true), within)
    hidden.say({ type: "visible", visible: false })
    const before = hidden.frames.length
    const heard = hidden.connections.length
    served.send(served.gateway.announce("b", "weather", "file"))
    await vi.waitFor(() => expect(shown.states().length).toBe(2), within)
    // With nobody looking, it goes on hearing.
    shown.say({ type: "visible", visible: false })
    served.send(served.gateway.remove("file a"))
    await vi.waitFor(() => expect(served.requests.filter((path) => path.endsWith("changes")).length).toBeGreaterThan(0))
    expect([hidden.frames.length, hidden.connections.length]).toEqual([before, heard])
    hidden.say({ type: "visible", visible: true })
    await vi.waitFor(() => expect(hidden.states()).toEqual(["b unknown"]), within)
    expect(hidden.frames[before]?.frame.whole).toBe(true)
    expect(shown.states().length).toBe(2)
  })

  it("piles up nothing for a page that doesn't keep up", async () => {
    const { hub, served } = await begin(["a"])
    const one = page(hub, served)
    await vi.waitFor(() => expect(one.view().ready).toBe(true), within)
    one.be({ busy: true })
    const before = one.frames.length
    for (let n = 0; n < 30; n++) {
      served.send(served.gateway.health("file a", n % 2 === 0 ? "degraded" : "healthy", `change ${n}`))
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    expect(one.frames.length - before).toBeLessThanOrEqual(4)
    one.be({ busy: false })
    one.say({ type: "seen" })
    await vi.waitFor(() => expect(one.view().instances.rows[0]?.reason).toBe("change 29"), within)
    expect(one.frames.slice(before).some(({ frame }) => frame.whole)).toBe(true)
  })

  it("speaks to whoever looks each second, whatever becomes of the gateway", async () => {
    const { hub, served } = await begin(["a"])
    served.greet = () => {}
    const one = page(hub, served)
    await vi.waitFor(() => expect(one.connections.length).toBeGreaterThan(3), within)
    expect(new Set(one.connections.map(({ state }) => state))).toEqual(new Set(["connecting"]))
  })

  it("ends the stream a while after the last page", async () => {
    const { hub, served } = await begin(["a"])
    const one = page(hub, served)
    await vi.waitFor(() => expect(one.view().ready).toBe(true), within)
    one.say({ type: "close" })
    // As browsers do that tell of a page that goes that it is hidden now.
    one.say({ type: "visible", visible: false })
    expect(served.watchers.size).toBe(1)
    await vi.waitFor(() => expect(served.watchers.size).toBe(0), within)
    // Forgotten, it speaks again.
    served.gateway.announce("b", "weather", "file")
    one.say({ type: "seen" })
    await vi.waitFor(() => expect(one.states().length).toBe(2), within)
  })

  it("keeps the last state of a gateway that is gone, and has no row too many when it is back", async () => {
    const { hub, served } = await begin(["a", "b"])
    const one = page(hub, served)
    await vi.waitFor(() => expect(one.view().ready).toBe(true), within)
    const [port, gateway] = [Number(new URL(served.url).port), served.gateway]
    await served.close()
    ends.splice(0, 1)
    await vi.waitFor(() => expect(one.connections.at(-1)?.state).toBe("lost"), within)
    expect(one.states()).toEqual(["a healthy", "b healthy"])
    gateway.run = "next"
    gateway.number = 0
    gateway.remove("file a")
    gateway.announce("c", "search", "file")
    const again = await serve(port, gateway)
    ends.push(again.close)
    await vi.waitFor(() => expect(one.states()).toEqual(["c unknown", "b healthy"]), within)
    expect(one.view().services.rows.map(({ name }) => name)).toEqual(["search", "weather"])
    expect(one.connections.at(-1)?.state).toBe("live")
  })
})
