/**
 * A change as the pages show it.
 */
import type { Change } from "../api/types.ts"
import type { ChangeRow, State } from "./rows.ts"

export const changeRow = ({ at, circuit, id, instance, reason, service, source, status, type }: Change): ChangeRow => ({
  id,
  at: Date.parse(at),
  kind: type === "source" ? "source" : "instance",
  to: type === "health" || type === "source" ? stateNamed(status, circuit) : type,
  service,
  instance,
  source,
  reason
})

const stateNamed = (status: Change["status"], circuit: Change["circuit"]): State | "removed" => {
  if (status === undefined) return "removed"
  if (status === "connected") return "healthy"
  if (status === "connecting") return "unknown"
  return circuit !== undefined && status === "unhealthy" ? "ejected" : status
}
