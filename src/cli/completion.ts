import type { Command } from "commander"

/** What may follow the commands given so far: further commands, and options. */
interface Place {
  /** The commands before it, such as `runs list`; empty at the beginning. */
  readonly path: string
  readonly words: readonly { readonly word: string; readonly about: string }[]
}

/** A script for one shell, made from the program itself. It knows commands and options; ids are not asked for. */
export function completion(program: Command, shell: "bash" | "zsh" | "fish"): string {
  const places = placesOf(program)
  if (shell === "fish") return fish(places)
  return shell === "bash" ? bash(places) : zsh(places)
}

function placesOf(command: Command, path = ""): Place[] {
  const below = command.commands.map((each) => ({ word: each.name(), about: each.description() }))
  const options = command.options.flatMap(({ long, description }) => (typeof long === "string" ? [{ word: long, about: description }] : []))
  const here = { path, words: [...below, ...options, { word: "--help", about: "help for this command" }] }
  return [here, ...command.commands.flatMap((each) => placesOf(each, `${path} ${each.name()}`.trim()))]
}

/** The commands among the words before the cursor. Both bash and zsh understand it: `at` is what has been recognised. */
function walk(places: readonly Place[]): string {
  const paths = places.map(({ path }) => path).filter((path) => path !== "")
  return `for word in "\${words_before[@]}"; do
    case "\${at:+$at }$word" in
      ${paths.map((path) => `"${path}"`).join("|")}) at="\${at:+$at }$word" ;;
    esac
  done`
}

function bash(places: readonly Place[]): string {
  return `# bash completion for fanfare
_fanfare() {
  local current="\${COMP_WORDS[COMP_CWORD]}" at="" word list=""
  local words_before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
  ${walk(places)}
  case "$at" in
${places.map(({ path, words }) => `    "${path}") list="${words.map(({ word }) => word).join(" ")}" ;;`).join("\n")}
  esac
  COMPREPLY=($(compgen -W "$list" -- "$current"))
}
complete -o default -F _fanfare fanfare`
}

function zsh(places: readonly Place[]): string {
  const described = (words: Place["words"]): string =>
    words.map(({ word, about }) => quoted(`${word.replaceAll(":", "\\:")}:${about}`)).join(" ")
  return `#compdef fanfare
_fanfare() {
  local at="" word
  local -a words_before list
  words_before=("\${(@)words[2,CURRENT-1]}")
  ${walk(places)}
  case "$at" in
${places.map(({ path, words }) => `    "${path}") list=(${described(words)}) ;;`).join("\n")}
  esac
  _describe -t commands fanfare list || _files
}
if [ "$funcstack[1]" = "_fanfare" ]; then _fanfare "$@"; else compdef _fanfare fanfare; fi`
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words }) =>
    words.map(({ word, about }) => {
      const what = word.startsWith("--") ? `-l ${word.slice(2)}` : `-f -a ${word}`
      return `complete -c fanfare -n '__fanfare_at ${quoted(path).replaceAll("'", '"')}' ${what} -d ${quoted(about)}`
    }),
  )
  const paths = places.map(({ path }) => path).filter((path) => path !== "")
  return `# fish completion for fanfare
function __fanfare_at
  set -l at
  for word in (commandline -opc)[2..-1]
    if contains -- (string join ' ' $at $word) ${paths.map((path) => `'${path}'`).join(" ")}
      set -a at $word
    end
  end
  set -l here (string join ' ' $at)
  test "$here" = "$argv[1]"
end
${lines.join("\n")}`
}

/** For all three shells: within single quotes nothing but the quote itself means anything. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "’").replaceAll("\n", " ")}'`
}
