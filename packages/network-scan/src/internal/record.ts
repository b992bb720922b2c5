import { type Address, type Identity, serviceName } from "@portolan/core/Identification"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import type { Target } from "./targets.ts"

/** Characters of a text that are kept. */
const longest = 256

/** Host and port as a URL has them. */
const authority = ({ host, port }: Target): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

/**
 * URL of a path at a port.
 *
 * @internal
 */
export const urlOf = (scheme: string, target: Target, path: string): string => `${scheme}://${authority(target)}${path}`

/**
 * The same in every scan: where it is, not what it says of itself.
 *
 * @internal
 */
export const idOf = (target: Target, path: string): string => `${authority(target)}${path}`

/**
 * The record that a server is announced with.
 *
 * @internal
 */
export const instanceOf = (
  id: string,
  { serverName, transport, url }: Address,
  { name, protocolVersion, title, version }: Identity
): ServiceInstance.ServiceInstance =>
  ServiceInstance.make({
    id,
    service: serviceName(name),
    ...(version !== undefined && /^[\w.+-]{1,64}$/.test(version) ? { version } : {}),
    endpoint: { transport, url, ...(serverName === undefined ? {} : { tls: { serverName } }) },
    metadata: { name: line(name), ...(title === undefined ? {} : { title: line(title) }), protocolVersion }
  })

/** What a server says may hold anything, and go on for long. */
const line = (text: string): string => text.slice(0, longest).replace(/[\s\p{Cc}\p{Cf}\p{Cs}]+/gu, " ").trim()
