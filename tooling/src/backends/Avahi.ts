/**
 * A real avahi-daemon for tests: the mDNS responder of most Linux systems, on the network of a host of `Network`.
 *
 * **Mental model**: it announces the services in its folder, and looks up names for whoever asks at its socket. Its paths
 * are built in, so it runs where `/etc` and `/run` are folders of its own; the system's are left alone.
 *
 * **Gotchas**: needs root on Linux, as the network does.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Debian from "./Debian.ts"
import type * as Network from "./Network.ts"
import * as Server from "./Server.ts"

const binary = Debian.locate({
  package: "avahi-daemon",
  with: ["libavahi-core7", "libavahi-common3", "libdaemon0", "libexpat1", "libdbus-1-3"],
  binary: "avahi-daemon"
})

/**
 * Why avahi-daemon can't be had on this machine; `undefined` where it can. Fetches it the first time.
 *
 * @category accessors
 * @since 0.2.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.match(binary, {
  onFailure: (error) => error.reason,
  onSuccess: () => undefined
})

/**
 * A service that it announces.
 *
 * @category models
 * @since 0.2.0
 */
export interface AvahiService {
  readonly name: string
  readonly type: string
  readonly port: number
  /** Texts such as `path=/mcp`. */
  readonly txt?: ReadonlyArray<string> | undefined
}

/**
 * How it is run.
 *
 * @category models
 * @since 0.2.0
 */
export interface AvahiOptions {
  /** Where it runs. */
  readonly place: Pick<Network.Host, "host" | "launcher">
  /** Its host's name, without `.local`. */
  readonly hostName: string
  readonly services: ReadonlyArray<AvahiService>
}

/**
 * A running daemon.
 *
 * @category models
 * @since 0.2.0
 */
export interface Avahi extends Pick<Server.Server, "start" | "stop" | "kill" | "pause" | "resume"> {
  /** Looks up a host by multicast DNS: the daemon's answer, such as `+ 3 0 ship.local 10.0.0.7`, or what went wrong. */
  readonly lookup: (host: string) => Effect.Effect<string, Server.ServerError>
}

/**
 * Starts a daemon until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  { hostName, place, services }: AvahiOptions
): Effect.fn.Return<Avahi, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  const path = yield* binary
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "portolan-avahi-run-"))),
    (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
  )
  const ask = (line: string) => asked(Path.join(folder, "avahi-daemon", "socket"), line)
  const server = yield* Server.make({
    name: "avahi",
    binary: "sh",
    ...place,
    launcher: [...place.launcher, "unshare", "--mount"],
    ports: [5353],
    args: (_, data) => ["-e", `${data}/start.sh`, data, folder, path],
    files: () => ({
      "start.sh": start,
      "avahi-daemon.conf": configuration(hostName),
      ...Object.fromEntries(services.map((service, index) => [`${index}.service`, group(service)]))
    }),
    ready: () => ask("HELP")
  })
  return { ...server, lookup: (host) => ask(`RESOLVE-HOSTNAME-IPV4 ${host}`) }
})

/** Lays out the folders that the daemon wants, and becomes it. */
const start = `
data=$1 run=$2 daemon=$3
mkdir -p $data/etc/avahi/services
cp /etc/passwd /etc/group /etc/nsswitch.conf $data/etc
echo avahi:x:65534:65534::/:/bin/false >> $data/etc/passwd
echo avahi:x:65534: >> $data/etc/group
cp $data/avahi-daemon.conf $data/etc/avahi
cp $data/*.service $data/etc/avahi/services 2>/dev/null || true
mount --bind $data/etc /etc
mount --bind $run /run
exec $daemon --no-drop-root --no-chroot --no-rlimits
`

const configuration = (hostName: string) => `
[server]
host-name=${hostName}
use-ipv4=yes
use-ipv6=no
enable-dbus=no
[publish]
publish-hinfo=no
publish-workstation=no
`

const group = ({ name, port, txt = [], type }: AvahiService) =>
  `<?xml version="1.0" standalone="no"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name>${name}</name>
  <service>
    <type>${type}</type>
    <port>${port}</port>
${txt.map((text) => `    <txt-record>${text}</txt-record>`).join("\n")}
  </service>
</service-group>
`

/** The line that the daemon's socket answers. */
const asked = (socket: string, line: string): Effect.Effect<string, Server.ServerError> =>
  Effect.callback((resume) => {
    let answer = ""
    const failed = (reason: string) => resume(Effect.fail(new Server.ServerError({ server: "avahi", reason })))
    const connection = Net.connect({ path: socket, timeout: 10_000 }, () => connection.write(`${line}\n`))
    connection.setEncoding("utf8")
    connection.on("data", (chunk: string) => {
      answer += chunk
      if (answer.includes("\n")) connection.destroy()
    })
    connection.on("error", ({ message }) => failed(message))
    connection.on("timeout", () => failed("no answer"))
    connection.on("close", () => resume(Effect.succeed(answer.split("\n")[0] ?? "")))
    return Effect.sync(() => connection.destroy())
  })
