/**
 * The reference: a bare Node reverse proxy that parses the JSON of the request and of the reply, and writes both anew.
 *
 *   node proxy.ts <node|undici> <port of the server>      prints its port, then serves until its input ends
 */
import { Agent, createServer, request as httpRequest, type ServerResponse } from "node:http"
import { Pool } from "undici"

const [client = "node", port = "0"] = process.argv.slice(2)
const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" }

const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 })

const reply = (response: ServerResponse, status: number, text: string) => {
  const body = JSON.stringify(JSON.parse(text))
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
  response.end(body)
}

/** Forwards with `node:http`'s own client. */
const forwardNode = (body: string, response: ServerResponse) => {
  httpRequest(
    {
      agent,
      host: "127.0.0.1",
      port: Number(port),
      path: "/mcp",
      method: "POST",
      headers: { ...headers, "content-length": Buffer.byteLength(body) }
    },
    (upstream) => {
      let text = ""
      upstream.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
      }).on("end", () => reply(response, upstream.statusCode ?? 502, text))
    }
  ).end(body)
}

/** Forwards with undici, the fastest client there is for Node. */
const forwardUndici = (body: string, response: ServerResponse) => {
  pool.request({ path: "/mcp", method: "POST", headers, body }).then(
    async (upstream) => reply(response, upstream.statusCode, await upstream.body.text()),
    () => response.writeHead(502).end()
  )
}

const forward = client === "undici" ? forwardUndici : forwardNode

const server = createServer((request, response) => {
  let body = ""
  request.setEncoding("utf8").on("data", (chunk: string) => {
    body += chunk
  }).on("end", () => forward(JSON.stringify(JSON.parse(body)), response))
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  console.log(typeof address === "object" && address !== null ? address.port : 0)
})
process.stdin.resume().on("end", () => process.exit(0))
