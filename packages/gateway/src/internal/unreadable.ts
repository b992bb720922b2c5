/**
 * Why a file can't be read, without its path, which may be what an environment variable holds.
 */
export const unreadable = (cause: unknown): string =>
  /^E[A-Z]+: [^,]+/.exec(cause instanceof Error ? cause.message : "")?.[0] ?? "no file that can be read"
