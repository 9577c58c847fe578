import { Argument, type Command } from "commander"
import type { Globals } from "./globals.ts"

/** The commands with which a project and a shell are set up; neither needs a server. */
export function addSetup(program: Command, globals: () => Globals): void {
  program
    .command("init")
    .description("begin a project: two functions, a server to run them in, scripts; leaves alone what is there")
    .argument("[folder]", "where to; made if it is not there", ".")
    .addHelpText("after", "\nExample: npx fanfare init shop")
    .action(async (folder: string) => (await import("./init.ts")).init(folder, globals()))

  program
    .command("completion")
    .description("print a script with which a shell completes commands and options")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
    .addHelpText(
      "after",
      "\nExamples: fanfare completion bash > /etc/bash_completion.d/fanfare\n          fanfare completion zsh > ~/.zfunc/_fanfare\n          fanfare completion fish > ~/.config/fish/completions/fanfare.fish",
    )
    .action(async (shell: "bash" | "zsh" | "fish") => {
      const { completion } = await import("./completion.ts")
      const { print } = await import("./output.ts")
      print(completion(program, shell))
    })
}
