import * as IpSet from "@portolan/core/IpSet"
import * as Effect from "effect/Effect"
import { randomInt } from "node:crypto"
import { createServer } from "node:net"
import { networkInterfaces } from "node:os"

/**
 * Whether one listener has this port at all IPv4 addresses of this machine: then no other can have it at one of them, so
 * what answers at two of them is the same.
 *
 * **Details**: no packet is sent. An address that nobody uses can't be bound with a port that is taken at all of them.
 *
 * @internal
 */
export const hasAll = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const server = createServer((socket) => socket.destroy())
    const close = () => server.close()
    server.once("error", (error) => resume(Effect.succeed("code" in error && error.code === "EADDRINUSE")))
    // Another one each time: who else finds out at this moment is in nobody's way.
    const spare = `127.255.${randomInt(256)}.${randomInt(1, 255)}`
    server.listen({ host: spare, port, exclusive: true }, () => {
      close()
      resume(Effect.succeed(false))
    })
    return Effect.sync(close)
  })

/**
 * IPv4 addresses of this machine.
 *
 * @internal
 */
export const addresses = (): IpSet.IpSet => {
  const own = Object.values(networkInterfaces()).flatMap((interfaces = []) =>
    interfaces.flatMap(({ address, family }) => family === "IPv4" ? [address] : [])
  )
  return IpSet.of("127.0.0.0/8", ...own)
}
