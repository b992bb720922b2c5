/**
 * A real nginx for tests of what stands behind a proxy.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Debian from "./Debian.ts"
import * as Server from "./Server.ts"

const binary = Debian.locate({ package: "nginx", binary: "nginx", with: ["libpcre2-8-0"] })

/**
 * Why nginx can't be had on this machine; `undefined` where it can. Fetches it the first time.
 *
 * @category accessors
 * @since 0.2.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.match(binary, {
  onFailure: (error) => error.reason,
  onSuccess: () => undefined
})

const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]

const configuration = (port: number, data: string, server: string): string =>
  `daemon off;
pid ${data}/pid;
error_log stderr warn;
worker_processes 1;
events { worker_connections 64; }
http {
  access_log off;
  ${folders.map((name) => `${name}_temp_path ${data}/${name};`).join("\n  ")}
  server {
    listen 127.0.0.1:${port};
    location = /ready { return 204; }
${server}
  }
}
`

/**
 * Starts one with what stands in its `server { … }`, until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  server: string
): Effect.fn.Return<Server.Server, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  return yield* Server.make({
    name: "nginx",
    binary: yield* binary,
    ports: 1,
    args: (_, data) => ["-e", "stderr", "-p", data, "-c", `${data}/nginx.conf`],
    files: ([port = 0], data) => ({ "nginx.conf": configuration(port, data, server) }),
    ready: { path: "/ready", when: () => true }
  })
})
