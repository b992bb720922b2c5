import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import * as Effect from "effect/Effect"
import { print } from "./root.ts"

/** Prints the completion script of a command; `whole` is asked for when it runs, as this is a part of it. */
export const completions = (whole: () => Command.Command.Any) =>
  Command.make(
    "completions",
    { shell: Argument.Literals("shell", ["bash", "zsh", "fish"]) },
    ({ shell }) =>
      Effect.suspend(() => {
        const script = Completions.generate("portolan", shell, Completions.fromCommand(whole()))
        // Says how to install it; here it is a command.
        return print(script.replaceAll("--completions ", "completions "))
      })
  ).pipe(
    Command.withDescription("Print a script that completes commands and flags in your shell"),
    Command.withExamples([
      { command: "portolan completions bash >> ~/.bashrc" },
      { command: "portolan completions zsh > \"${fpath[1]}/_portolan\"" },
      { command: "portolan completions fish > ~/.config/fish/completions/portolan.fish" }
    ])
  )
