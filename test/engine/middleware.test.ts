import { afterEach, describe, expect, it } from "vitest"
import { encryption, type EventSchemas, Fanfare, type Middleware } from "../../src/index.ts"
import { createHarness, type Harness } from "../../src/testing.ts"

let harness: Harness
afterEach(() => harness.close())

type Apps = Fanfare<EventSchemas, readonly Middleware[]>
const go = [{ event: "t/go" }] as const
const runOf = async (functionId = "t-f") => harness.run((await harness.runs({ functionId }))[0]?.id ?? "")

describe("middleware", () => {
  const key = (n: number): string => Buffer.alloc(32, n).toString("base64")

  it("stands around runs, steps and sends in order, and adds to what handlers get", async () => {
    const seen: string[] = []
    const trace = (name: string): Middleware => ({
      name,
      run: async (_, next) => {
        seen.push(`${name} run`)
        const result = await next()
        seen.push(`${name} ran`)
        return result
      },
      step: async ({ stepId }, next) => {
        seen.push(`${name} ${stepId}`)
        return next()
      },
      send: (events, next) => next(events.map((event) => ({ ...event, data: { ...(event.data as object), by: name } }))),
    })
    const database: Middleware<{ db: { find: () => string } }> = { name: "database", context: () => ({ db: { find: () => "found" } }) }
    const app = new Fanfare({ id: "t", middleware: [trace("outer"), trace("inner"), database] })
    app.createFunction({ id: "f", triggers: go }, async ({ step, db, event }) => {
      const text: string = db.find()
      return [await step.run("s", () => text), event.data["by"]]
    })
    harness = await createHarness({ client: app })
    await app.send({ name: "t/go", data: {} })
    await harness.settle()
    expect((await runOf()).output).toBe('["found","inner"]')
    expect(seen).toEqual(["outer run", "inner run", "outer s", "inner s", "inner ran", "outer ran"])
  })

  it("encrypts what is kept, and reads it again with the key of that time", async () => {
    const define = (app: Apps): void => {
      app.createFunction(
        { id: "f", triggers: go, retries: 0, onFailure: ({ event }) => event.data.event.data["secret"] },
        async ({ step, event }) => {
          const text = await step.run("s", () => `the ${String(event.data["secret"])}`)
          const other = await step.waitForEvent("x", { event: "t/x", match: "data.user", timeout: "1h" })
          if (other?.data["fail"] === true) throw new Error("as asked")
          return [text, other?.data["word"], event.data["user"]]
        },
      )
    }
    const first: Apps = new Fanfare({ id: "t", middleware: [encryption({ key: key(1), plain: ["user"] })] })
    define(first)
    harness = await createHarness({ client: first })
    await first.send([1, 2].map((user) => ({ name: "t/go", data: { user, secret: "sesame" } })))
    await harness.settle()
    await first.send({ name: "t/x", data: { user: 1, word: "open" } })
    await harness.settle()
    const [second, done] = await Promise.all((await harness.runs()).map(({ id }) => harness.run(id)))
    expect(done?.data).toMatch(/^\{"user":1,"\$encrypted":"v1\.[0-9a-f]{8}\./)
    expect(JSON.stringify([second, done])).not.toMatch(/sesame|open/)
    const { decode } = encryption({ key: key(2), oldKeys: [key(1)] })
    expect(await decode?.(JSON.parse(done?.output ?? ""))).toEqual(["the sesame", "open", 1])
    await expect(decode?.({ $encrypted: `${String(JSON.parse(done?.output ?? "{}").$encrypted).slice(0, -4)}AAAA` })).rejects.toMatchObject(
      {
        code: "undecipherable",
      },
    )
    await expect(encryption({ key: key(3) }).decode?.(JSON.parse(done?.output ?? ""))).rejects.toMatchObject({ code: "undecipherable" })
    await first.send({ name: "t/x", data: { user: 2, fail: true } })
    await harness.settle()
    expect(await decode?.(JSON.parse((await runOf("t-f-failure")).output ?? ""))).toBe("sesame")
    expect(() => encryption({ key: "short" })).toThrow("32 bytes")
  })
})
