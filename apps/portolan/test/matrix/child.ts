/**
 * The server of the handshake era on standard input: `node child.ts <service> <port of the test>`.
 */
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js"
import { remote } from "./control.ts"
import { make } from "./handshakeServer.ts"

const [service = "", port = ""] = process.argv.slice(2)
await make(service, remote(Number(port))).connect(new StdioServerTransport())
process.stdin.on("end", () => process.exit())
