/** @internal */
export interface Xorshift {
  /** Uniform in [0, 1). */
  (): number
  /** Remembers where it is; what it answers goes back there. */
  readonly save: () => () => void
}

/**
 * Marsaglia's xorshift32: uniform in [0, 1) at the cost of three shifts. Good enough to spread load, and a run can be
 * repeated from its seed.
 *
 * @internal
 */
export const xorshift = (seed: number): Xorshift => {
  // Zero is the one state that it never leaves.
  let state = (seed | 0) === 0 ? 0x9e3779b9 : seed | 0
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 0x1_0000_0000
  }
  const save = () => {
    const saved = state
    return () => {
      state = saved
    }
  }
  return Object.assign(next, { save })
}
