/**
 * A server on standard input: `node child.ts <era> <service> <port of the test>`.
 */
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js"
import { serveStdio } from "@modelcontextprotocol/server/stdio"
import { remote } from "./control.ts"
import * as HandshakeServer from "./handshakeServer.ts"
import * as StatelessServer from "./statelessServer.ts"

const [era, service = "", port = ""] = process.argv.slice(2)
const control = remote(Number(port))
process.stdin.on("end", () => process.exit())

if (era === "handshake") await HandshakeServer.make(service, control).connect(new StdioServerTransport())
else {
  const { follow, serve } = StatelessServer.make(service, control)
  serveStdio(() => {
    const server = serve()
    const told = (sent: Promise<void>) => void sent.catch(() => {})
    follow({
      toolsChanged: () => told(server.sendToolListChanged()),
      promptsChanged: () => told(server.sendPromptListChanged()),
      resourcesChanged: () => told(server.sendResourceListChanged()),
      resourceUpdated: (uri) => told(server.sendResourceUpdated({ uri }))
    })
    return server
  }, { legacy: "reject" })
}
