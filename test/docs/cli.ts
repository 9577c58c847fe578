import { Command } from "commander"

const seen: Command[] = []

/** The program of the command line, as it is when it would begin to read its arguments: it is not run. */
export async function program(): Promise<Command> {
  const parse = Command.prototype.parseAsync
  Command.prototype.parseAsync = async function (this: Command) {
    seen.push(this)
    return this
  }
  try {
    // Once: a module that was imported is not run again.
    await import("../../src/cli/main.ts")
  } finally {
    Command.prototype.parseAsync = parse
  }
  const [root] = seen
  if (root === undefined) throw new Error("src/cli/main.ts parsed nothing")
  return root
}

/** Each command that does something, with its path: `runs list`. */
export function commandsOf(root: Command, path = ""): { readonly path: string; readonly command: Command }[] {
  return root.commands.flatMap((command) => {
    const own = `${path}${command.name()}`
    return command.commands.length === 0 ? [{ path: own, command }] : commandsOf(command, `${own} `)
  })
}

/** What stands in the help beside usage and options. */
export function examplesOf(command: Command): string[] {
  let text = ""
  command.configureOutput({ writeOut: (part) => void (text += part) }).outputHelp()
  return [...text.matchAll(/^(?:Examples?: | {10})((?:[A-Z_]+=\S+ )*fanfare .*)$/gm)].map(([, example = ""]) => example)
}
