import { existsSync } from "node:fs"

/** The configuration file of the working directory, if it has one. */
export const defaultFile = (): string | undefined =>
  ["portolan.yaml", "portolan.yml", "portolan.json"].find((name) => existsSync(name))

/** The gateway that commands ask where nothing else is said. */
export const defaultUrl = "http://127.0.0.1:7420"
