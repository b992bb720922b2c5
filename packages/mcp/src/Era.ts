/**
 * The two eras of MCP: the handshake era (2024-11-05 … 2025-11-25: `initialize`, sessions) and the stateless era
 * (2026-07-28: every request carries its version, `server/discover`).
 *
 * @since 0.1.0
 */

export type Era = "handshake" | "stateless"

/** Versions of the handshake era, newest first. */
export const handshakeVersions = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] as const

/** Versions of the stateless era, newest first. */
export const statelessVersions = ["2026-07-28"] as const
