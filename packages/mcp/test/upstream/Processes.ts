/**
 * What lives in a process group, from /proc.
 */
import { readdirSync, readFileSync } from "node:fs"

/** Process ids of the group; zombies don't count. */
export const membersOf = (group: number): ReadonlyArray<number> =>
  readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      // After the command in brackets: state, parent, group.
      const [state, , of] = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")
      return Number(of) === group && state !== "Z"
    } catch {
      return false
    }
  })

export const alive = (pid: number): boolean => {
  try {
    return !/^.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}
