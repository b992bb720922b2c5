/**
 * One small process that ends the children of this process when this process is gone, however it went.
 *
 * **Mental model**: a shell in a session of its own reads the children's process groups from a pipe that only we hold. When
 * we end, even by SIGKILL, the pipe closes; the shell then ends the groups that are left, and itself.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"

/**
 * Keeps process groups from outliving this process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Watchdog {
  /** The group must end with us. Plain. */
  readonly add: (group: number) => void
  /** The group is gone. Plain. */
  readonly remove: (group: number) => void
  /** Process id of the watchdog; none before the first group. Plain. */
  readonly pid: () => number | undefined
}

// TERM first, KILL 2 s later. Signals to the terminal's group must not end it before us.
const script = `
trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="\${groups%% $group *} \${groups#* $group }" ;; esac ;;
  esac
done
[ "$groups" = ' ' ] && exit 0
for group in $groups; do kill -TERM "-$group" 2>/dev/null; done
for wait in 1 2 3 4; do
  left=' '
  for group in $groups; do kill -0 "-$group" 2>/dev/null && left="$left$group "; done
  [ "$left" = ' ' ] && exit 0
  groups=$left
  sleep 0.5
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
`

/**
 * Makes a watchdog. Its process starts with the first group and ends with the scope; should it die, the next group starts
 * another.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Watchdog, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const groups = new Set<number>()
    let shell: ChildProcess | undefined

    const start = (): ChildProcess => {
      const child = spawn("/bin/sh", ["-c", script], {
        detached: true,
        stdio: ["pipe", "ignore", "ignore"],
        cwd: "/",
        env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" }
      })
      const gone = () => {
        if (shell === child) shell = undefined
      }
      // Without a shell (a container without one) the children still end with every orderly end of ours.
      child.once("error", gone)
      child.once("exit", gone)
      child.stdin?.on("error", gone)
      child.unref()
      for (const group of groups) child.stdin?.write(`+ ${group}\n`)
      return child
    }

    return {
      add: (group: number) => {
        groups.add(group)
        if (shell === undefined) shell = start()
        else shell.stdin?.write(`+ ${group}\n`)
      },
      remove: (group: number) => {
        if (groups.delete(group)) shell?.stdin?.write(`- ${group}\n`)
      },
      pid: () => shell?.pid,
      close: () => void shell?.stdin?.end()
    }
  }),
  (watchdog) => Effect.sync(watchdog.close)
)
