/**
 * Calls a tool of the fleet, adds one of its own, and hears of what changes.
 */
import { fileRegistry } from "@portolan/file/promise"
import { connect } from "@portolan/mcp/promise"

const fleet = await connect({ registries: [fileRegistry({ path: "./services.json" })] })

const forecast = await fleet.callTool("get_forecast", { city: "Lisbon" })
console.log(forecast.value)

const changes = fleet.changes()[Symbol.asyncIterator]()
const change = changes.next()

await fleet.registerTool({ service: "house", name: "motd", handler: () => "hello" })
console.log((await change).value.type, (await change).value.instance.id)
console.log((await fleet.callTool("motd")).value)

await fleet.close()
