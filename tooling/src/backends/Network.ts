/**
 * A network of hosts on this machine, so that servers can be cut off from one another and from us.
 *
 * **Mental model**: each host is a network namespace, joined by a cable to one switch (a bridge) that this process is on
 * too. A host that is cut off is silent: nothing is refused, nothing reset.
 *
 * **Gotchas**: needs root on Linux. The addresses are those set aside for benchmarks (RFC 2544).
 *
 * @since 0.2.0
 */
import * as IpSet from "@portolan/core/IpSet"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile, execFileSync } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import { promisify } from "node:util"
import * as Debian from "./Debian.ts"

/**
 * Error raised when the network can't be made or changed: why, in one line.
 *
 * @category errors
 * @since 0.2.0
 */
export class NetworkError extends Data.TaggedError("NetworkError")<{ readonly reason: string }> {
  override get message(): string {
    return this.reason
  }
}

/**
 * A host. `host` and `launcher` are what `Server.make` takes.
 *
 * @category models
 * @since 0.2.0
 */
export interface Host {
  /** Its address, for its peers and for us. */
  readonly host: string
  readonly launcher: ReadonlyArray<string>
  /** Nothing reaches it any more, nor leaves it. */
  readonly cut: Effect.Effect<void, NetworkError>
  /** Nothing passes between it and its peers; we still reach it. */
  readonly cutFromPeers: Effect.Effect<void, NetworkError>
  /** Ends both. */
  readonly heal: Effect.Effect<void, NetworkError>
}

const run = promisify(execFile)
const paths = { env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin` } }

const failed = (what: string, cause: unknown) => {
  const text = cause instanceof Error && "stderr" in cause && cause.stderr !== "" ? String(cause.stderr) : String(cause)
  return new NetworkError({ reason: `${what}: ${text.trim().split("\n")[0]} (a network needs root on Linux)` })
}

/** What this system has, or what its packages bring. */
const program = Effect.runSync(Effect.cached(
  Effect.tryPromise(() => run("sh", ["-c", "command -v ip"], paths)).pipe(
    Effect.map(({ stdout }) => stdout.trim()),
    Effect.catch(() =>
      Debian.locate({
        package: "iproute2",
        with: ["libbpf1", "libbsd0", "libcap2", "libelf1", "libmd0", "libmnl0"],
        binary: "ip"
      })
    ),
    Effect.mapError((cause) => failed("ip", cause))
  )
))

const ip = (command: string): Effect.Effect<string, NetworkError> =>
  Effect.flatMap(program, (program) =>
    Effect.tryPromise({
      try: async () => (await run(program, command.split(" "), paths)).stdout,
      catch: (cause) => failed(`ip ${command}`, cause)
    }))

// A test process that ends without closing its scopes must leave nothing behind.
const open = new Map<string, string>()
process.on("exit", () => {
  for (const [undo, program] of open) {
    try {
      execFileSync(program, undo.split(" "), { ...paths, stdio: "ignore" })
    } catch {
      // It went with what it was part of.
    }
  }
})

/** Makes something that `undo` ends, with the scope or with the process. */
const made = (command: string, undo: string): Effect.Effect<void, NetworkError, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.tap(
      Effect.andThen(ip(command), program),
      (program) => Effect.sync(() => open.set(undo, program))
    ),
    () => Effect.tap(Effect.ignore(ip(undo)), () => Effect.sync(() => open.delete(undo)))
  ))

/** What a process left behind that had no time to tidy up. */
const sweep = Effect.gen(function*() {
  const mine = /^ptl(\d+)-/
  const gone = (name: string) => {
    const pid = mine.exec(name)?.[1]
    if (pid === undefined) return false
    try {
      process.kill(Number(pid), 0)
      return false
    } catch {
      return true
    }
  }
  for (const name of yield* Effect.promise(() => Fs.readdir("/run/netns").catch(() => []))) {
    if (gone(name)) yield* Effect.ignore(ip(`netns del ${name}`))
  }
  for (const [, name = ""] of (yield* ip("-o link show type bridge")).matchAll(/^\d+: ([^:@]+)/gm)) {
    if (gone(name)) yield* Effect.ignore(ip(`link del ${name}`))
  }
})

let networks = 0

/** A name and the addresses of a network that nobody else has, from the 131,072 that there are. */
const choose = Effect.fnUntraced(function*(length: number) {
  const index = networks++
  const taken = Array.from((yield* ip("-o -4 addr show")).matchAll(/ inet (\S+\/\d+)/g), ([, net = ""]) => net)
  const all = IpSet.of(...taken)
  const size = 2 ** (32 - length)
  const count = 2 ** (length - 15)
  // Those who choose at the same time begin at different places.
  for (let n = 0; n < count; n++) {
    const place = (process.pid * 16 + index + n) % count * size
    const net = `198.${18 + (place >> 16)}.${place >> 8 & 255}.0/${length}`
    // 15 characters at most.
    if (IpSet.size(IpSet.intersect(all, IpSet.of(net))) === 0n) return { name: `ptl${process.pid}-${index}`, net }
  }
  return yield* new NetworkError({ reason: "no address is left for a network" })
})

/**
 * Makes a network in which nobody is, until the scope closes: what is sent into it is lost without a word. Its address is
 * like `198.18.4.0/22`; the first host of it is this machine.
 *
 * @category constructors
 * @since 0.2.0
 */
export const silent = Effect.fnUntraced(function*(
  length: number
): Effect.fn.Return<string, NetworkError, Scope.Scope> {
  yield* sweep
  const { name, net } = yield* choose(length)
  yield* made(`link add ${name} type bridge`, `link del ${name}`)
  yield* ip(`addr add ${net.replace(".0/", ".1/")} dev ${name}`)
  // Nobody is asked for, so nobody is known to be absent.
  yield* ip(`link set ${name} arp off up`)
  return net
})

/**
 * Makes a network of so many hosts, until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  count: number
): Effect.fn.Return<ReadonlyArray<Host>, NetworkError, Scope.Scope> {
  yield* sweep
  const command = yield* program
  const chosen = yield* choose(24)
  const { name } = chosen
  const net = chosen.net.replace(".0/24", "")
  yield* made(`link add ${name} type bridge`, `link del ${name}`)
  yield* ip(`addr add ${net}.1/24 dev ${name}`)
  yield* ip(`link set ${name} up`)
  const plugs: Array<{ readonly host: string; readonly space: string; readonly plug: string }> = []
  for (let n = 0; n < count; n++) {
    const space = `${name}-${n}`
    const plug = `${name}h${n}`
    const host = `${net}.${n + 11}`
    yield* made(`netns add ${space}`, `netns del ${space}`)
    yield* made(`link add ${plug} type veth peer name eth0 netns ${space}`, `link del ${plug}`)
    yield* ip(`link set ${plug} master ${name} up`)
    yield* ip(`-n ${space} addr add ${host}/24 dev eth0`)
    yield* ip(`-n ${space} link set eth0 up`)
    yield* ip(`-n ${space} link set lo up`)
    plugs.push({ host, space, plug })
  }

  return plugs.map(({ host, plug, space }) => {
    const peers = plugs.filter((peer) => peer.space !== space)
    const each = (command: (space: string, address: string) => string) =>
      Effect.forEach(peers, (peer) => Effect.andThen(ip(command(space, peer.host)), ip(command(peer.space, host))), {
        discard: true
      })
    // Frames to a card that nobody has are lost without a word.
    const cutFromPeers = each((space, address) =>
      `-n ${space} neigh replace ${address} lladdr 02:00:00:00:00:00 dev eth0 nud permanent`
    )
    return {
      host,
      launcher: [command, "netns", "exec", space],
      cut: Effect.asVoid(ip(`link set ${plug} down`)),
      cutFromPeers,
      heal: Effect.andThen(
        ip(`link set ${plug} up`),
        // There must be something to forget.
        Effect.andThen(cutFromPeers, each((space, address) => `-n ${space} neigh del ${address} dev eth0`))
      )
    }
  })
})

/**
 * Why there can be no network on this machine; `undefined` where there can. Tries it.
 *
 * @category accessors
 * @since 0.2.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.gen(function*() {
  const [host] = yield* make(1)
  // A host that nothing listens on refuses at once.
  const answer = yield* Effect.callback<string>((resume) => {
    const socket = Net.connect({ host: host?.host, port: 9, timeout: 2000 })
    socket.on("error", (error) => resume(Effect.succeed("code" in error ? String(error.code) : error.message)))
    socket.on("timeout", () => resume(Effect.succeed("no answer")))
    return Effect.sync(() => socket.destroy())
  })
  return answer === "ECONNREFUSED" ? undefined : `a network namespace can't be reached: ${answer}`
}).pipe(Effect.scoped, Effect.catch((error) => Effect.succeed(error.message)))
