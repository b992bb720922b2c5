/**
 * What a server of the matrix tells its test, and what the test has it do: the same for one in this process and one in a
 * process of its own.
 */
import type { Socket } from "node:net"
import { connect } from "node:net"
import { createInterface } from "node:readline"

/** What a server saw. */
export interface Seen {
  readonly what: string
  readonly about?: unknown
}

/** What a server is to do by itself. */
export type Order =
  | { readonly order: "grow"; readonly list: "tools" | "prompts" | "resources"; readonly name: string }
  | { readonly order: "update"; readonly uri: string }
  | { readonly order: "log"; readonly level: "debug" | "error"; readonly data: string }
  | { readonly order: "withdraw" }

/** As a server has it. */
export interface Control {
  readonly tell: (what: string, about?: unknown) => void
  /** Hears of every order from the first on, as lists that grew stay as they are. */
  readonly onOrder: (listener: (order: Order) => void) => void
}

/** As the test has it. */
export interface Watched {
  readonly seen: Array<Seen>
  readonly give: (order: Order) => void
}

/** Both ends in one process. */
export const local = (): { readonly control: Control; readonly watched: Watched } => {
  const seen: Array<Seen> = []
  const given: Array<Order> = []
  const listeners: Array<(order: Order) => void> = []
  return {
    control: {
      tell: (what, about) => void seen.push({ what, about }),
      onOrder: (listener) => {
        for (const order of given) if (order.order === "grow") listener(order)
        listeners.push(listener)
      }
    },
    watched: {
      seen,
      give: (order) => {
        given.push(order)
        for (const listener of listeners) listener(order)
      }
    }
  }
}

/** The test's end towards a process, over its connection. */
export const attach = (control: Control, socket: Socket): void => {
  createInterface({ input: socket }).on("line", (line) => {
    const { about, what }: Seen = JSON.parse(line)
    control.tell(what, about)
  })
  socket.on("error", () => {})
  control.onOrder((order) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(order)}\n`)
  })
}

/** The end of a process. */
export const remote = (port: number): Control => {
  const socket = connect(port, "127.0.0.1")
  // The test is over.
  socket.on("error", () => {}).on("close", () => process.exit())
  return {
    tell: (what, about) => void socket.write(`${JSON.stringify({ what, about })}\n`),
    onOrder: (listener) => void createInterface({ input: socket }).on("line", (line) => listener(JSON.parse(line)))
  }
}
