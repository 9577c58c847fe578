import type { Fn, Sdk, Seen } from "./sdk-apps.ts"

/** What happened outside: what an app did, by name. */
export class Ledger {
  readonly done: string[] = []
  /** The app's own way to send, for its functions. */
  send: (events: object) => Promise<{ ids: string[] }> = () => Promise.reject(new Error("the app has not started"))
  did = (what: string): string => {
    this.done.push(what)
    return what
  }
  count(what: string): number {
    return this.done.filter((each) => each === what).length
  }
}

/** The functions of another app on the same server. */
export function farFunctions(): Fn[] {
  return [{ id: "far", triggers: [{ event: "t/far" }], handler: ({ event }) => Number(event.data["x"]) * 3 }]
}

/** The functions of an app: one of each kind of step and rule. */
export function functions({ NonRetriable, RetryAfter, reference }: Sdk, ledger: Ledger): Fn[] {
  const fails = (ledgerName: string, times: number, error: () => Error) => (): string => {
    ledger.did(ledgerName)
    if (ledger.count(ledgerName) <= times) throw error()
    return `${ledgerName} after ${times}`
  }
  const caught = async (work: () => Promise<unknown>): Promise<string> => {
    try {
      return String(await work())
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`
    }
  }
  const of = (id: string, handler: Fn["handler"], rest: Partial<Fn> = {}): Fn => ({
    id,
    triggers: [{ event: `t/${id}` }],
    handler,
    ...rest,
  })
  let alone = 0
  return [
    of("plain", ({ event, attempt }) => ({ event, attempt })),
    of("steps", async ({ event, step }) => {
      const a = await step.run("a", () => ledger.did(`a ${event.data["n"]}`))
      await step.sleep("nap", "1s")
      const same = [await step.run("same", () => 1), await step.run("same", () => 2)]
      return { a, same }
    }),
    of("parallel", async ({ step }) => {
      const chain = async (id: string): Promise<string> => {
        const first = await step.run(`${id} 1`, () => ledger.did(`${id} 1`))
        return step.run(`${id} 2`, () => ledger.did(`${first} ${id} 2`))
      }
      const all = await Promise.all([chain("x"), chain("y"), step.sleep("nap", "1s"), step.run("z", () => ledger.did("z"))])
      return [all, await step.run("end", () => ledger.did("end"))]
    }),
    of(
      "step-retries",
      ({ step }) =>
        step.run(
          "flaky",
          fails("flaky", 1, () => new RetryAfter("busy", 1_000)),
        ),
      { retries: 2 },
    ),
    of(
      "side-by-side",
      ({ step }) =>
        Promise.all([
          step.run("good", () => ledger.did("good")),
          step.run(
            "bad",
            fails("bad", 1, () => new RetryAfter("busy", 1_000)),
          ),
        ]),
      { retries: 2 },
    ),
    of(
      "caught",
      async ({ step }) => [
        await caught(() =>
          step.run(
            "exhausted",
            fails("exhausted", 9, () => new RetryAfter("always busy", 1_000)),
          ),
        ),
        await caught(() =>
          step.run(
            "never",
            fails("never", 9, () => new NonRetriable("no use")),
          ),
        ),
      ],
      { retries: 1 },
    ),
    of("run-retries", ({ attempt }) => fails("run", 1, () => new RetryAfter(`attempt ${attempt}`, 1_000))(), { retries: 1 }),
    of(
      "hopeless",
      fails("hopeless", 9, () => new NonRetriable("hopeless")),
    ),
    of(
      "exhausted-run",
      fails("exhausted-run", 9, () => new RetryAfter("still", 1_000)),
      { retries: 1 },
    ),
    of("sends", async ({ event, step }) => {
      const from = Number(event.data["from"] ?? 0)
      return step.sendEvent(
        "kids",
        [0, 1, 2].map((i) => ({ name: "t/kid", data: { i: from + i } })),
      )
    }),
    of("sends-inside", async ({ step }) => {
      const kids = (from: number): object[] => [from, from + 1].map((i) => ({ name: "t/kid", data: { i } }))
      const { ids } = await step.run("a step", () => ledger.send(kids(10)))
      return ids
    }),
    of("chain", async ({ step }) => {
      ledger.did("chain called")
      let sum = 0
      for (let i = 1; i <= 3; i++) sum += await step.run(`link ${i}`, () => Number(ledger.did(`${i}`)))
      await step.sleep("nap", "1s")
      return sum
    }),
    of("kid", ({ event }) => ledger.did(`kid ${event.data["i"]}`)),
    of("some", ({ event }) => event.data, { triggers: [{ event: "t/any", if: "event.data.yes == true" }, { event: "t/other" }] }),
    of("clock", ({ event }) => [ledger.did(`clock ${event.name}`), event.data["cron"]], { triggers: [{ cron: "*/3 * * * * *" }] }),
    of(
      "throws-odd",
      () => {
        // oxlint-disable-next-line no-throw-literal -- what user code may throw
        throw { odd: true }
      },
      { retries: 0 },
    ),
    of("waits", async ({ step }) => {
      const matched = await step.waitForEvent("paid", { event: "t/paid", timeout: "1h", match: "data.order" })
      const missed = await step.waitForEvent("missed", { event: "t/never", timeout: "1s" })
      return { matched, missed }
    }),
    of("both", ({ step }) =>
      Promise.all([
        step.waitForEvent("answer", { event: "t/answer", timeout: "1h", if: "async.data.to == event.data.n" }),
        step.sendEvent("ask", { name: "t/ask", data: { n: 5 } }),
      ]),
    ),
    of("answers", ({ event, step }) => step.sendEvent("answer", { name: "t/answer", data: { to: event.data["n"], text: "here" } }), {
      triggers: [{ event: "t/ask" }],
    }),
    of("invokes", async ({ step }) => [
      await step.invoke("child", { function: reference("child"), data: { x: 20 } }),
      await caught(() => step.invoke("sad child", { function: reference("child"), data: { x: -1 } })),
      await caught(() => step.invoke("nobody", { function: reference("nobody") })),
    ]),
    of("child", ({ event, step }) => {
      const x = Number(event.data["x"])
      if (x < 0) throw new NonRetriable("negative")
      return step.run("double", () => x * 2)
    }),
    of(
      "sad",
      fails("sad", 9, () => new NonRetriable("too sad")),
      {
        onFailure: ({ error, event }) => {
          const { data } = event.data["event"] as { data: { n: number } }
          ledger.did(`sad ended: ${error.message} ${data.n}`)
        },
      },
    ),
    of("cancelled", ({ step }) => step.sleep("long", "1h"), { cancelOn: [{ event: "t/stop", match: "data.n" }] }),
    of("batch", ({ events }) => events.map(({ data }) => data["n"]), { batchEvents: { maxSize: 3, timeout: "60s" } }),
    of(
      "alone",
      async () => {
        ledger.did(`alone ${(alone += 1)}`)
        await new Promise((resolve) => setTimeout(resolve, 30))
        alone--
      },
      { concurrency: 1 },
    ),
    of("single", ({ step }) => step.sleep("nap", "1h"), { singleton: { mode: "skip", key: "event.data.n" } }),
    of("replaced", ({ step }) => step.sleep("nap", "1h"), { singleton: { mode: "cancel", key: "event.data.n" } }),
    of("unique", ({ event }) => ledger.did(`unique ${event.data["cart"]}`), { idempotency: "event.data.cart" }),
    of("calm", ({ event }) => event.data["n"], { debounce: { period: "1s" } }),
    of("late", ({ event }: Seen) => event.ts),
    of("until", async ({ event, step }) => {
      await step.sleepUntil("then", new Date(Number(event.data["at"])))
      return Date.now()
    }),
    of("listens", ({ event, step }) => step.waitForSignal("go", { signal: `go ${event.data["n"]}`, timeout: "1h" })),
    of("signals", ({ event, step }) => step.sendSignal("tell", { signal: `go ${event.data["n"]}`, data: { from: "a step" } })),
    of("fetches", async ({ event, step }) => {
      const response = await step.fetch(String(event.data["url"]))
      return [response.status, await response.text()]
    }),
    of(
      "thinks",
      async ({ event, step }) => {
        const model = { url: String(event.data["url"]), authKey: "a key", format: "openai-chat", headers: {}, onCall: () => undefined }
        return [
          await step.ai.wrap("wrapped", async (n) => n + 1, 1),
          await step.ai.infer("asked", { model, body: { messages: [] } }),
          await caught(() => step.ai.infer("refused", { model: { ...model, url: `${model.url}/none` }, body: {} })),
        ]
      },
      { retries: 0 },
    ),
    of("invokes-far", ({ step }) => step.invoke("far", { function: reference("far", "other"), data: { x: 7 } })),
    of("throttled", ({ event }) => event.data["n"], { throttle: { limit: 1, period: "1s" } }),
    of("rated", ({ event }) => event.data["n"], { rateLimit: { limit: 1, period: "1h", key: "event.data.who" } }),
    of(
      "important",
      async ({ event }) => {
        ledger.did(`important ${event.data["n"]}`)
        await new Promise((resolve) => setTimeout(resolve, event.data["n"] === 0 ? 300 : 1))
      },
      { concurrency: 1, priority: { run: "event.data.n" } },
    ),
  ]
}
