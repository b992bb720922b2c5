/**
 * Those who take part in multicast DNS: plain state machines that are told what was heard and say what to send.
 *
 * **Mental model**: a party has no socket and no clock. Whoever runs it hands in the links, the messages and the time (ms
 * that only grow), and asks it again when it says that it is due. So a test runs hours of a network in an instant.
 */
import type { Message } from "./message.ts"

/** An interface of this machine, by which the hosts of one link are reached. */
export interface Link {
  /** As the system calls it. */
  readonly name: string
  /** Ours there. */
  readonly address: string
  /** The addresses of the link, as `10.0.0.0/24`. */
  readonly network: string
  readonly isLoopback: boolean
}

/** Where a message came from. */
export interface Sender {
  readonly address: string
  readonly port: number
}

/** A message to everybody on a link, or to one who doesn't listen to the group. */
export interface Outgoing {
  readonly link: Link
  readonly message: Message
  readonly to?: Sender | undefined
}

export interface Party {
  /** The links that there are from now on; one that is the same value as before is the same link. */
  readonly linked: (links: ReadonlyArray<Link>, now: number) => void
  readonly hear: (link: Link, message: Message, from: Sender, now: number) => void
  /** Does what is due, and answers what to send. */
  readonly tick: (now: number) => ReadonlyArray<Outgoing>
  /** When there is something to do; `Infinity`: when it hears something. */
  readonly due: () => number
}
