/**
 * A neighbour on the loopback interface, who announces services by another implementation of DNS messages than ours. As a
 * backend of the laws it does what a responder does: announces what changes, once more a second later, and answers.
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Server from "@portolan/tooling/backends/Server"
import * as DnsPacket from "dns-packet"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Dgram from "node:dgram"
import * as Fs from "node:fs/promises"

class PeerError extends Data.TaggedError("PeerError")<{ readonly cause: unknown }> {}

const group = "224.0.0.251"
const loopback = "127.0.0.1"

export interface Peer extends RegistryLaws.Controls {
  /** Of this network alone. */
  readonly port: number
  readonly say: (packet: DnsPacket.Packet | Uint8Array) => Effect.Effect<void, PeerError>
  /** Everything that others said. */
  readonly heard: () => ReadonlyArray<DnsPacket.DecodedPacket>
}

const recordsOf = (type: string, instance: ServiceInstance, texts: ReadonlyArray<string> = [], ttl = 120) => {
  const { endpoint, id, metadata, service } = instance
  const url = new URL("url" in endpoint ? String(endpoint.url) : "http://127.0.0.1:1/mcp")
  const name = `${id}.${type}.local`
  const target = `${id}.local`
  const data = [
    `path=${url.pathname}`,
    `service=${service}`,
    "version=1.0.0",
    `seq=${String(metadata["seq"])}`,
    ...texts
  ]
  const answers: Array<DnsPacket.Answer> = [
    { type: "PTR", name: `${type}.local`, ttl, data: name },
    { type: "SRV", name, ttl, flush: true, data: { port: Number(url.port), target } },
    { type: "TXT", name, ttl, flush: true, data },
    { type: "A", name: target, ttl, flush: true, data: url.hostname }
  ]
  return answers
}

export const make: Effect.Effect<Peer, PeerError | Server.ServerError, Scope.Scope> = Effect.gen(function*() {
  const [port = 0] = yield* Server.freePorts(1)
  const records = new Map<string, ReadonlyArray<DnsPacket.Answer>>()
  const again = new Map<string, ReadonlyArray<DnsPacket.Answer>>()
  const heard: Array<DnsPacket.DecodedPacket> = []
  const ours = new Set<string>()
  let questions = 0
  let timer: NodeJS.Timeout | undefined

  const socket = yield* Effect.acquireRelease(
    Effect.callback<Dgram.Socket, PeerError>((resume) => {
      const socket = Dgram.createSocket({ type: "udp4", reuseAddr: true })
      socket.once("error", (cause) => resume(Effect.fail(new PeerError({ cause }))))
      socket.bind(port, () => {
        socket.addMembership(group, loopback)
        socket.setMulticastInterface(loopback)
        resume(Effect.succeed(socket))
      })
    }),
    (socket) =>
      Effect.callback<void>((resume) => {
        clearTimeout(timer)
        socket.close(() => resume(Effect.void))
      })
  )
  const send = (bytes: Uint8Array) => {
    const key = Buffer.from(bytes).toString("base64")
    ours.add(key)
    socket.send(bytes, port, group)
    // What never comes back is forgotten too.
    if (ours.size > 1000) ours.delete(Array.from(ours)[0] ?? "")
  }
  const respond = (answers: ReadonlyArray<DnsPacket.Answer>) =>
    send(DnsPacket.encode({ type: "response", flags: DnsPacket.AUTHORITATIVE_ANSWER, answers: Array.from(answers) }))

  socket.on("message", (bytes) => {
    if (ours.has(bytes.toString("base64"))) return
    const packet = DnsPacket.decode(bytes)
    heard.push(packet)
    if (packet.type !== "query" || (packet.authorities ?? []).length > 0) return
    questions += packet.questions?.length ?? 0
    const known = new Set((packet.answers ?? []).map((answer) => "data" in answer ? String(answer.data) : ""))
    for (const answers of records.values()) {
      const [pointer] = answers
      const isAsked = packet.questions?.some(({ name, type }) =>
        answers.some((answer) => answer.name === name && answer.type === type)
      )
      const isKnown = packet.questions?.every(({ type }) => type === "PTR") === true &&
        known.has(pointer?.type === "PTR" ? pointer.data : "")
      if (isAsked === true && !isKnown) respond(answers)
    }
  })

  const repeat = () => {
    timer ??= setTimeout(() => {
      timer = undefined
      for (const answers of again.values()) respond(answers)
      again.clear()
    }, 1000)
  }
  const announce = (type: string, instance: ServiceInstance, texts?: ReadonlyArray<string>) =>
    Effect.sync(() => {
      const answers = recordsOf(type, instance, texts)
      records.set(instance.id, answers)
      again.set(instance.id, answers)
      repeat()
      return answers
    })
  const add = (instance: ServiceInstance) => Effect.map(announce("_mcp._tcp", instance), respond)

  return {
    port,
    say: (packet) => Effect.sync(() => send(packet instanceof Uint8Array ? packet : DnsPacket.encode(packet))),
    heard: () => heard,
    add,
    update: add,
    remove: (instance) =>
      Effect.sync(() => {
        // Of its service, wherever that is.
        const farewell = (records.get(instance.id) ?? []).slice(0, 3).map((answer) => ({ ...answer, ttl: 0 }))
        records.delete(instance.id)
        again.set(instance.id, farewell)
        respond(farewell)
        repeat()
      }),
    batch: (instances) =>
      Effect.map(
        Effect.forEach(instances, (instance) => announce("_mcp._tcp", instance)),
        (all) => respond(all.flat())
      ),
    corrupt: (instance) => Effect.map(announce("_mcp._tcp", instance, ["status=sideways"]), respond),
    outside: (instance) => Effect.map(announce("_mcpx._tcp", instance), respond),
    requests: Effect.sync(() => questions),
    // This one's own is one of them.
    open: Effect.map(
      Effect.promise(() => Fs.readFile("/proc/net/udp", "utf8")),
      (table) => table.split(`:${port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000`).length - 2
    )
  }
})
