import * as Publisher from "./Publisher.ts"
import { StandIn } from "./StandIn.ts"

Publisher.suite("documents (MCP registry)", () => new StandIn(), (mcpRegistry) => ({ mcpRegistry }))
