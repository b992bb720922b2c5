/**
 * The command: its subcommands, and how it is run.
 */
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import { call } from "./commands/call.ts"
import { completions } from "./commands/completions.ts"
import { configuration, validate } from "./commands/configuration.ts"
import { deregister } from "./commands/deregister.ts"
import { explain } from "./commands/explain.ts"
import { instances } from "./commands/instances.ts"
import { login } from "./commands/login.ts"
import { mark, refresh } from "./commands/operate.ts"
import { register } from "./commands/register.ts"
import { report } from "./commands/report.ts"
import { root } from "./commands/root.ts"
import { scan } from "./commands/scan.ts"
import { services } from "./commands/services.ts"
import { status } from "./commands/status.ts"
import { tools } from "./commands/tools.ts"
import { up } from "./commands/up.ts"
import { watch } from "./commands/watch.ts"
import { presenter } from "./errors.ts"
import { version } from "./version.ts"

// Completions are made of the whole, and are a part of it.
const whole = (): Command.Command.Any => portolan

const portolan = root.pipe(
  Command.withSubcommands([
    { group: "Serve", commands: [up] },
    { group: "Look", commands: [status, services, instances, tools, report, explain, watch, scan] },
    { group: "Act", commands: [call, register, deregister, mark, refresh] },
    { group: "Set up", commands: [validate, configuration, login, completions(whole)] }
  ])
)

const names = new Set(portolan.subcommands.flatMap(({ commands }) => commands.map(({ name }) => name)))
/** Those that call the address of the gateway `--gateway`. */
const renaming = new Set<string>([register.name, deregister.name, scan.name])
const ofGateway = new Set(["--url", "--token"])

/**
 * Flags of the gateway belong to the commands that ask it. Written before the name of a command they go behind it; they
 * are the gateway's there, whatever the command itself calls `--url`.
 */
const ordered = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const kept: Array<string> = []
  const moved: Array<string> = []
  let at = 0
  for (let arg = args[at]; arg !== undefined && /^-./.test(arg) && arg !== "--"; arg = args[at]) {
    const [flag = arg] = arg.split("=", 1)
    const words = flag === arg && (ofGateway.has(flag) || flag === "--log-level") ? 2 : 1
    ;(ofGateway.has(flag) ? moved : kept).push(...args.slice(at, at + words))
    at += words
  }
  const [command, ...rest] = args.slice(at)
  if (command === undefined || moved.length === 0 || !names.has(command)) return args
  const asked = renaming.has(command) ? moved.map((arg) => arg.replace(/^--url(?==|$)/, "--gateway")) : moved
  return [...kept, command, ...asked, ...rest]
}

const runWith = Command.runWith(portolan, { version })

/** Runs the command that the process was started with. */
export const run = Stdio.Stdio.use(({ args }) => Effect.flatMap(Effect.map(args, ordered), runWith)).pipe(
  Effect.provideService(CliOutput.Presenter, presenter),
  Effect.provideService(CliConfig.CliConfig, {
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.LogLevel]
  })
)
