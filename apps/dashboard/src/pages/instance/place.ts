/**
 * Where an instance runs, as short as it can be told: zones name their region.
 */
import type { InstanceRow } from "../../fleet/rows.ts"
import { none } from "../../parts/format.ts"

export const placeOf = ({ region, zone }: Pick<InstanceRow, "region" | "zone">): string =>
  zone !== "" ? zone : region !== "" ? region : none
