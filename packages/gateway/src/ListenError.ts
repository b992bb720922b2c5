/**
 * Why the gateway can't listen.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Error raised when the gateway can't listen.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  host: Schema.String,
  port: Schema.Int,
  /** Of the operating system; `TLS` where the certificates are no good. */
  code: Schema.String,
  /** What is wrong with the certificates. */
  reason: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    switch (this.code) {
      case "EADDRINUSE":
        return `port ${this.port} on ${this.host} is in use: stop what listens there, or choose another port`
      case "EACCES":
        return `port ${this.port} on ${this.host} needs more rights: choose one above 1023`
      case "EADDRNOTAVAIL":
      case "ENOTFOUND":
        return `${this.host} is no address of this machine: choose another host`
      default:
        return this.reason ?? `can't listen on ${this.host}:${this.port}: ${this.code}`
    }
  }
}
