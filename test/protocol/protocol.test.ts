import { createHash, createHmac } from "node:crypto"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { limits } from "../../src/core/limits.ts"
import type { StepRecord } from "../../src/core/step.ts"
import { callBody, callUrl, canonicalBody, memosOf } from "../../src/protocol/call.ts"
import { canonicalJson } from "../../src/protocol/canonical.ts"
import { eventNameFromWire, eventNameToWire } from "../../src/protocol/names.ts"
import { opIdOf, stepKeyOf } from "../../src/protocol/op-id.ts"
import { parseOps, ProtocolError } from "../../src/protocol/ops.ts"
import { parseReply, type RawReply } from "../../src/protocol/reply.ts"
import { sha1 } from "../../src/protocol/sha1.ts"
import { bearerOf, isSigningKey, signingKeys } from "../../src/protocol/signature.ts"

const now = 1_790_000_000_000
const key = "signkey-test-0123456789abcdef0123456789abcdef"
const other = "fedcba9876543210fedcba9876543210"

describe("the names of steps on the wire", () => {
  it("are SHA-1, whatever the text", () => {
    const text = fc.oneof(fc.string({ unit: "binary" }), fc.string({ minLength: 50, maxLength: 140 }))
    fc.assert(fc.property(text, (any) => sha1(any) === createHash("sha1").update(any).digest("hex")))
    expect(sha1("a".repeat(100_000))).toBe(createHash("sha1").update("a".repeat(100_000)).digest("hex"))
  })

  it("lead to the id in the user's code when the hash proves it, else stay as they are; and back", () => {
    const named = (id: string, userland: { id: string; index: number } | null, displayName: string | null = null): string =>
      stepKeyOf({ id, userland, displayName })
    expect(named(sha1("charge"), { id: "charge", index: 0 })).toBe("charge")
    expect(named(sha1("charge:2"), { id: "charge", index: 2 })).toBe("charge:2")
    expect(named(sha1("charge"), null, "charge")).toBe("charge")
    expect(named(sha1("charge"), { id: "refund", index: 0 })).toBe(`=${sha1("charge")}`)
    expect(named("whatever", null)).toBe("=whatever")
    for (const odd of ["=x", "a\u0000b", "\ud800", "x".repeat(300)]) expect(named(sha1(odd), { id: odd, index: 0 })).toBe(`=${sha1(odd)}`)
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.nat(5), (id, index) => {
        const wire = sha1(index === 0 ? id : `${id}:${index}`)
        return opIdOf(stepKeyOf({ id: wire, userland: { id, index }, displayName: null })) === wire
      }),
    )
    fc.assert(fc.property(fc.string(), (id) => opIdOf(stepKeyOf({ id, userland: null, displayName: null })) === id))
  })
})

describe("signatures", () => {
  const hmac = (text: string, t: number, secret = key): string =>
    createHmac("sha256", secret.replace(/^signkey-\w+-/, ""))
      .update(text + t)
      .digest("hex")

  it("are HMAC-SHA256 over body and seconds with the key's text, and hold for 5 minutes both ways", async () => {
    const keys = await signingKeys([key])
    const t = Math.floor(now / 1_000)
    const signature = await keys.sign("{}", now)
    expect(signature).toBe(`t=${t}&s=${hmac("{}", t)}`)
    for (const [seconds, holds] of [
      [0, true],
      [299, true],
      [-299, true],
      [301, false],
      [-301, false],
    ] as const) {
      expect([seconds, await keys.verify(signature, "{}", t * 1_000 + seconds * 1_000)]).toEqual([seconds, holds])
    }
    expect(await keys.verify(signature, "{ }", now)).toBe(false)
    const bits = signature.split("")
    for (let i = signature.indexOf("s=") + 2; i < signature.length; i++) {
      const flipped = [...bits.slice(0, i), bits[i] === "0" ? "1" : "0", ...bits.slice(i + 1)].join("")
      expect(await keys.verify(flipped, "{}", now)).toBe(false)
    }
  })

  it("are accepted from any of the keys, made with the first", async () => {
    const keys = await signingKeys([key, other])
    const t = Math.floor(now / 1_000)
    expect(await keys.verify(`t=${t}&s=${hmac("x", t, other)}`, "x", now)).toBe(true)
    expect(await (await signingKeys([other])).verify(await keys.sign("x", now), "x", now)).toBe(false)
  })

  it("never throw, whatever stands in the header", async () => {
    const keys = await signingKeys([key])
    const header = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom(undefined, null, ""),
      fc.tuple(fc.bigInt(), fc.string()).map(([t, s]) => `t=${t}&s=${s}`),
    )
    await fc.assert(fc.asyncProperty(header, async (any) => !(await keys.verify(any, "{}", now))))
  })

  it("know bearers as the hash of the key's bytes, with and without prefix", async () => {
    const hashed = createHash("sha256").update(Buffer.from("0123456789abcdef0123456789abcdef", "hex")).digest("hex")
    expect(await bearerOf(key)).toBe(hashed)
    expect(await bearerOf("0123456789abcdef0123456789abcdef")).toBe(hashed)
  })

  it("say what can be a key", async () => {
    expect([key, other, "x".repeat(32), "0".repeat(30), "0".repeat(33), ""].map(isSigningKey)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ])
  })
})

describe("canonical JSON", () => {
  it("sorts by UTF-16 code units, writes numbers as JavaScript does, and means the same", () => {
    expect(
      canonicalJson({ "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, ö: 6, a: [1e30, 4.5, 2e-3, 1e-27, -0, null, true] }),
    ).toBe('{"\\r":2,"1":4,"a":[1e+30,4.5,0.002,1e-27,0,null,true],"\u00f6":6,"\u20ac":1,"\ud83d\ude00":5,"\ufb33":3}')
    fc.assert(
      fc.property(fc.json(), (text) => {
        const canonical = canonicalJson(JSON.parse(text))
        expect(JSON.parse(canonical)).toEqual(JSON.parse(JSON.stringify(JSON.parse(text))))
        expect(canonicalJson(JSON.parse(canonical))).toBe(canonical)
      }),
    )
  })
})

const record = (step: Partial<StepRecord> & Pick<StepRecord, "key">): StepRecord => ({
  kind: "run",
  state: "completed",
  attempts: 1,
  output: null,
  failure: null,
  dueAt: null,
  startedAt: now,
  endedAt: now,
  ...step,
})

describe("a call", () => {
  it("tells what is over: results wrapped, waits bare, in the order in which they ended", () => {
    const steps = [
      record({ key: "late", output: "1", endedAt: now + 30 }),
      record({ key: "early", output: '{"a":1}', endedAt: now + 10 }),
      record({ key: "bad", state: "failed", failure: { name: "E", message: "m" }, endedAt: now + 20 }),
      record({ key: "slept", kind: "sleep", state: "waiting", dueAt: now + 15 }),
      record({ key: "sleeps", kind: "sleep", state: "waiting", dueAt: now + 99 }),
      record({ key: "again", state: "retrying", failure: { name: "E", message: "m" }, dueAt: now }),
    ]
    expect(memosOf(steps, now + 50)).toEqual([
      [sha1("early"), '{"data":{"a":1}}'],
      [sha1("slept"), "null"],
      [sha1("bad"), '{"error":{"name":"E","message":"m"}}'],
      [sha1("late"), '{"data":1}'],
    ])
  })

  it("has a body that is JSON whatever the event holds, and means the same when it is canonical", () => {
    const event = fc.record({ id: fc.string(), name: fc.string(), data: fc.json(), ts: fc.nat() })
    fc.assert(
      fc.property(event, fc.boolean(), (value, byApi) => {
        const memos = [["a", "null"]] as const
        const body = callBody({
          runId: "run_1",
          attempt: 0,
          maxAttempts: 5,
          stepId: null,
          planOnly: true,
          version: -1,
          events: [value],
          memos,
          byApi,
          ticket: { functionUuid: "u", item: "1.1" },
          linked: true,
          defers: [["d", true]],
        })
        const read = JSON.parse(body) as Record<string, Record<string, unknown>>
        expect(read["event"]?.["data"]).toEqual(JSON.parse(value.data))
        expect(read["steps"]).toEqual(byApi ? {} : { a: null })
        expect(read["use_api"]).toBe(byApi)
        expect(JSON.parse(canonicalBody(body))).toEqual(JSON.parse(JSON.stringify(read)))
      }),
    )
  })

  it("goes to the function's own URL, whose other parameters stay", () => {
    expect(callUrl("http://h/p?deployId=x&fnId=a-b&stepId=step", "abc")).toBe("http://h/p?deployId=x&fnId=a-b&stepId=abc")
    expect(callUrl("http://h/p", null)).toBe("http://h/p?stepId=step")
  })

  it("names events of the system as apps know them", () => {
    expect(eventNameToWire("fanfare/scheduled.timer")).toBe("inngest/scheduled.timer")
    expect(eventNameFromWire("inngest/function.failed")).toBe("fanfare/function.failed")
    expect(eventNameToWire("app/x")).toBe("app/x")
  })
})

describe("an answer", () => {
  const sdk = { "x-inngest-sdk": "inngest-js:v4.24.0", "x-inngest-req-version": "2" }
  const reply = (status: number, body: unknown, headers: RawReply["headers"] = {}): ReturnType<typeof parseReply> =>
    parseReply({ status, headers: { ...sdk, ...headers }, body: typeof body === "string" ? body : JSON.stringify(body) }, now)

  it("of each kind is read", () => {
    expect(reply(200, { a: 1 })).toEqual({ kind: "done", output: { a: 1 } })
    expect(reply(200, "")).toEqual({ kind: "done", output: null })
    expect(reply(206, [{ id: sha1("a"), op: "StepRun", data: 1, userland: { id: "a" } }])).toMatchObject({
      kind: "ops",
      version: 2,
      retry: "policy",
      ops: [{ key: "a", kind: "StepRun", data: 1 }],
    })
    expect(reply(206, { id: "x", op: "None" })).toMatchObject({ kind: "ops", ops: [] })
    const error = { name: "TypeError", message: "no", stack: "at x", __serialized: true }
    expect(reply(500, error, { "x-inngest-no-retry": "false" })).toMatchObject({
      kind: "failed",
      failure: { name: "TypeError", message: "no" },
      retry: "policy",
    })
    expect(reply(400, error, { "x-inngest-no-retry": "true" })).toMatchObject({ kind: "failed", retry: "never" })
    // The header decides, not the status.
    expect(reply(500, error, { "x-inngest-no-retry": "true" })).toMatchObject({ retry: "never" })
    expect(reply(400, error)).toMatchObject({ retry: "policy" })
    expect(reply(500, JSON.stringify(JSON.stringify(error)))).toMatchObject({ failure: { name: "TypeError" } })
  })

  it("says when to try again, in seconds or as a moment, within 7 days", () => {
    const retry = (after: string): unknown => (reply(500, {}, { "retry-after": after }) as { retry: unknown }).retry
    expect(retry("30")).toEqual({ at: now + 30_000 })
    expect(retry(new Date(now + 5_000).toISOString())).toEqual({ at: now + 5_000 })
    expect(retry(new Date(now - 5_000).toUTCString())).toEqual({ at: now })
    expect(retry("99999999999")).toEqual({ at: now + limits.retryAfterMaxMs })
    expect(retry("soon")).toBe("policy")
    const limit = (name: string): unknown => reply(500, {}, { "retry-after": "1", "x-fanfare-limit": name })
    expect(limit("till%20%2F%201")).toMatchObject({ retry: { at: now + 1_000, limit: "till / 1" } })
    expect(limit("%")).toMatchObject({ retry: { at: now + 1_000 } })
  })

  it("that is streamed is the document at its end", () => {
    const inner = {
      status: 206,
      headers: { "X-Inngest-Req-Version": "1", "Retry-After": "3" },
      body: JSON.stringify([{ id: "x", op: "StepError", error: { message: "m" } }]),
    }
    expect(reply(201, `      ${JSON.stringify(inner)}`)).toMatchObject({ kind: "ops", version: 1, retry: { at: now + 3_000 } })
    expect(reply(201, { status: 200, headers: {}, body: { a: 1 } })).toEqual({ kind: "done", output: { a: 1 } })
    expect(reply(201, "   ")).toMatchObject({ kind: "failed", failure: { name: "ProtocolError" }, retry: "policy" })
  })

  it("that no app gave, but what stands before it and is busy, says when to try again", () => {
    const raw = (status: number) => ({ status, headers: { "retry-after": "30" }, body: "slow down" })
    for (const status of [429, 503]) expect(parseReply(raw(status), now)).toMatchObject({ kind: "failed", retry: { at: now + 30_000 } })
    expect(parseReply(raw(502), now)).toMatchObject({ kind: "failed", retry: "policy" })
  })

  it("that no app gave is tried again, whatever its status", () => {
    for (const status of [200, 204, 206, 302, 401, 404, 502]) {
      const raw = { status, headers: { "content-type": "text/html" }, body: "<html>Log in</html>" }
      expect(parseReply(raw, now)).toMatchObject({ kind: "failed", failure: { name: "ProtocolError" }, retry: "policy" })
    }
    expect(reply(302, "")).toMatchObject({ kind: "failed", retry: "policy" })
    expect(reply(206, "<html>")).toMatchObject({ kind: "failed", retry: "policy" })
    expect(
      reply(
        206,
        Array.from({ length: 1_001 }, () => ({ id: "x", op: "StepRun" })),
      ),
    ).toMatchObject({ kind: "failed" })
  })

  it("may hold anything: it is read or refused, and never throws", () => {
    const text = fc.oneof(fc.string({ unit: "binary" }), fc.json(), hostile)
    const headers = fc.dictionary(fc.constantFrom(...Object.keys(sdk), "retry-after", "x-inngest-no-retry"), fc.string())
    fc.assert(
      fc.property(fc.integer({ min: -1, max: 700 }), headers, text, (status, given, body) => {
        const read = parseReply({ status, headers: given, body }, now)
        return ["done", "ops", "failed"].includes(read.kind)
      }),
      { numRuns: 1_000 },
    )
  })
})

/** Ops that are nearly right. */
const hostile = fc
  .array(
    fc.record(
      {
        id: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()),
        op: fc.oneof(fc.constantFrom("StepRun", "StepError", "Sleep", "StepPlanned", "RunComplete", "Odd"), fc.jsonValue()),
        name: fc.jsonValue(),
        displayName: fc.jsonValue(),
        userland: fc.oneof(fc.jsonValue(), fc.record({ id: fc.string(), index: fc.jsonValue() })),
        data: fc.jsonValue(),
        error: fc.jsonValue(),
        opts: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
  )
  .map((ops) => JSON.stringify(ops))

describe("ops", () => {
  it("are read or refused as a whole", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        try {
          for (const { key: stepKey } of parseOps(JSON.parse(text))) expect(stepKey).not.toBe("")
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      }),
      { numRuns: 1_000 },
    )
  })
})
