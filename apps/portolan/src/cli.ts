/**
 * The command: its subcommands, and how it is run.
 */
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import { call } from "./commands/call.ts"
import { completions } from "./commands/completions.ts"
import { configuration, validate } from "./commands/configuration.ts"
import { deregister } from "./commands/deregister.ts"
import { instances } from "./commands/instances.ts"
import { login } from "./commands/login.ts"
import { mark, refresh } from "./commands/operate.ts"
import { register } from "./commands/register.ts"
import { root } from "./commands/root.ts"
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
    { group: "Look", commands: [status, services, instances, tools, watch] },
    { group: "Act", commands: [call, register, deregister, mark, refresh] },
    { group: "Set up", commands: [validate, configuration, login, completions(whole)] }
  ])
)

/** Runs the command that the process was started with. */
export const run = Command.run(portolan, { version }).pipe(
  Effect.provideService(CliOutput.Presenter, presenter),
  Effect.provideService(CliConfig.CliConfig, {
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.LogLevel]
  })
)
