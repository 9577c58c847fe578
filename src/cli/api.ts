import { FanfareError } from "../core/errors.ts"
import { createClient, type Given } from "../protocol/client.ts"
import type { Answers, Operation } from "../protocol/operations.ts"
import { bearerOf } from "../protocol/signature.ts"
import { below } from "../sdk/below.ts"
import { fromProblem } from "../sdk/remote-call.ts"
import type { Globals } from "./globals.ts"

/** Asks the HTTP API of the server that the command line was told of. */
export function call<O extends Operation>({ url }: Globals, operation: O, ...given: Given<O>): Promise<Answers[O]> {
  const ask = createClient({
    address(path) {
      try {
        return below(url, path)
      } catch (cause) {
        throw new FanfareError("invalid_option", `--url: "${url}" is not a URL`, { field: "url", cause })
      }
    },
    async send(target, request) {
      try {
        const bearer = await bearerFrom(process.env)
        const authorization = bearer === null ? {} : { authorization: `Bearer ${bearer}` }
        return await fetch(target, { ...request, headers: { ...request.headers, ...authorization } })
      } catch (cause) {
        throw new FanfareError("not_connected", `nothing answers at ${url}`, {
          cause,
          hint: "Start it with `fanfare dev`, or point to another with --url or FANFARE_URL.",
        })
      }
    },
    refused: fromProblem,
  })
  return ask(operation, ...given)
}

/** Of the keys in the environment the one that may most. */
async function bearerFrom(env: NodeJS.ProcessEnv): Promise<string | null> {
  const { FANFARE_SIGNING_KEY: signing, FANFARE_ADMIN_KEY: admin, FANFARE_READ_KEY: read } = env
  if (signing !== undefined && signing !== "") return bearerOf(signing)
  return [admin, read].find((key) => key !== undefined && key !== "") ?? null
}
