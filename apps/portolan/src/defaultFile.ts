import { existsSync } from "node:fs"

/** The configuration file of the working directory, if it has one. */
export const defaultFile = (): string | undefined =>
  ["portolan.yaml", "portolan.yml", "portolan.json"].find((name) => existsSync(name))
