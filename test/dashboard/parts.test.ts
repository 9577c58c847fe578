import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { capped, compact, percent, relative, span, visible } from "../../dashboard/src/format.ts"
import { cellAt, layoutOf, moved } from "../../dashboard/src/parts/cells.ts"
import { jsonLines } from "../../dashboard/src/parts/json.ts"
import { fieldsOf, filledOf, problemsOf, type Schema, typedOf } from "../../dashboard/src/parts/schema-fields.ts"
import { scaleOf, spansOf, timesOf } from "../../dashboard/src/parts/timeline.ts"
import type { RunDetail } from "../../src/protocol/views.ts"

describe("JSON as it is shown", () => {
  const textOf = (text: string): string =>
    jsonLines(text)
      .flat()
      .map((token) => token.text)
      .join("")

  it("is the text itself, whatever it holds, but for space between its marks", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        expect(JSON.parse(textOf(text))).toEqual(JSON.parse(text))
      }),
    )
  })

  it("keeps digits that a number of JavaScript could not, keys that are there twice, and what was cut off", () => {
    expect(textOf('{"cursor":12345678901234567890.10,"a":1,"a":2}')).toContain("12345678901234567890.10")
    expect(
      jsonLines('{"a":1,"a":2}')
        .flat()
        .filter(({ kind }) => kind === "key"),
    ).toHaveLength(2)
    expect(textOf('{"text":"and so o')).toContain('"and so o')
  })

  it("does not grow with what is wrong: brackets that nobody closes, marks that nobody ends", () => {
    const most = 65_536
    expect(textOf("[".repeat(most)).length).toBeLessThan(most * 130)
    expect(textOf(`"${"\\".repeat(most - 1)}`)).toHaveLength(most)
  })
})

describe("the map of a fan-out", () => {
  it("has room for every cell, and finds each one where it was drawn", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.integer({ min: 320, max: 2_000 }),
        fc.constantFrom(1, 2),
        (cells, width, ratio) => {
          const layout = layoutOf(cells, width * ratio, 360 * ratio, ratio)
          expect(layout.columns * layout.rows).toBeGreaterThanOrEqual(cells)
          expect(layout.columns * layout.size).toBeLessThanOrEqual(width * ratio)
          for (const cell of [0, Math.floor(cells / 2), cells - 1]) {
            const [x, y] = [(cell % layout.columns) * layout.size, Math.floor(cell / layout.columns) * layout.size]
            expect(cellAt(layout, cells, x, y)).toBe(cell)
          }
          expect(cellAt(layout, cells, width * ratio + layout.size, 0)).toBe(null)
        },
      ),
    )
  })

  it("is walked with the arrow keys, and never left", () => {
    expect(["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "Home", "End"].map((key) => moved(5, key, 4, 10))).toEqual([
      6, 4, 9, 1, 0, 9,
    ])
    expect(moved(9, "ArrowRight", 4, 10)).toBe(9)
    expect(moved(1, "ArrowUp", 4, 10)).toBe(1)
  })
})

describe("the timeline of a run", () => {
  const failure = { name: "MailError", message: "503" }
  const run = {
    state: "completed",
    attempt: 2,
    createdAt: 0,
    eventTs: 0,
    startedAt: 7_000,
    endedAt: 8_000,
    dueAt: null,
    attempts: [{ attempt: 1, fence: 1, startedAt: 1_000, endedAt: 2_000, failure }],
    steps: [
      {
        key: "load",
        kind: "run",
        state: "completed",
        attempts: 1,
        output: "1",
        failure: null,
        dueAt: null,
        startedAt: 1_100,
        endedAt: 1_400,
      },
      {
        key: "send",
        kind: "run",
        state: "completed",
        attempts: 1,
        output: "1",
        failure: null,
        dueAt: null,
        startedAt: 7_100,
        endedAt: 7_900,
      },
    ],
  } as unknown as RunDetail

  it("tells what happened in order: waiting, attempts, their steps, the rest between them", () => {
    expect(spansOf(run, 9_000).map(({ label, from, to }) => [label, from, to])).toEqual([
      ["queued", 0, 1_000],
      ["attempt 1", 1_000, 2_000],
      ["load", 1_100, 1_400],
      ["back-off", 2_000, 7_000],
      ["attempt 2", 7_000, 8_000],
      ["send", 7_100, 7_900],
    ])
  })

  it("tells the time in line from the time of execution, and neither from the time before it was due", () => {
    expect(timesOf(spansOf(run, 9_000))).toEqual({ queued: 1_000, ran: 2_000 })
    const later = { ...run, eventTs: 400 }
    expect(spansOf(later, 9_000).map(({ label }) => label)).toEqual(expect.arrayContaining(["not due yet", "queued"]))
    expect(timesOf(spansOf(later, 9_000)).queued).toBe(600)
  })

  it("goes on up to now while the run does", () => {
    const going = { ...run, state: "running", endedAt: null } as RunDetail
    expect(spansOf(going, 9_000).find(({ label }) => label === "attempt 2")).toMatchObject({ to: 9_000, state: "running" })
    const waiting = {
      ...run,
      state: "scheduled",
      startedAt: 1_000,
      endedAt: null,
      dueAt: 60_000,
      attempt: 1,
      steps: [],
    } as unknown as RunDetail
    expect(spansOf(waiting, 9_000).at(-1)).toMatchObject({ label: "back-off", from: 2_000, to: 60_000 })
  })

  it("draws long stretches of idleness short, in the right order", () => {
    const spans = spansOf(run, 9_000)
    const whole = scaleOf(spans, false)
    const short = scaleOf(spans, true)
    expect(short.gaps).toMatchObject([{ ms: 5_000 }])
    expect(whole.place(7_000) - whole.place(2_000)).toBeCloseTo(5 / 8)
    expect(short.place(7_000) - short.place(2_000)).toBeLessThan(0.4)
    const places = [0, 500, 1_000, 2_000, 4_000, 7_000, 8_000].map((at) => short.place(at))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect([places[0], places.at(-1)]).toEqual([0, 1])
  })
})

describe("a form made from a schema", () => {
  const schema = {
    type: "object",
    properties: {
      name: { type: "string", title: "Full name" },
      age: { anyOf: [{ type: "integer" }, { type: "null" }] },
      on: { type: "boolean", default: true },
      size: { enum: ["s", 5, null] },
      rest: { type: "array" },
    },
    required: ["name"],
  }
  const fields = fieldsOf(JSON.parse(JSON.stringify(schema).replace('"rest"', '"__proto__":{"type":"string"},"rest"')) as Schema)

  it("has a field of the fitting kind for each property, and none for what is no object", () => {
    expect(fields.map(({ name, kind, required, start }) => [name, kind, required, start])).toEqual([
      ["name", "text", true, ""],
      ["age", "number", false, ""],
      ["on", "flag", false, "true"],
      ["size", "choice", false, ""],
      ["__proto__", "text", false, ""],
      ["rest", "json", false, ""],
    ])
    expect([fieldsOf({ type: "string" }), fieldsOf({ properties: "no" }), fieldsOf({ $ref: "#/a" })]).toEqual([[], [], []])
    const many = Object.fromEntries(Array.from({ length: 41 }, (_, i) => [`p${i}`, { type: "string" }]))
    expect(fieldsOf({ properties: many })).toEqual([])
  })

  it("gives back the data that was put in, whatever it is", () => {
    const told = (data: object): string =>
      JSON.stringify(fields.map(({ name }) => Object.entries(data).find(([property]) => property === name)))
    const data = fc.record({
      name: fc.string().filter((text) => text.trim() !== ""),
      age: fc.integer(),
      on: fc.boolean(),
      size: fc.constantFrom("s", 5, null),
      rest: fc.array(fc.json().map((text) => JSON.parse(text) as unknown)),
    })
    fc.assert(
      fc.property(data, (value) => {
        const { data: filled, problems } = filledOf(fields, typedOf(fields, value))
        expect(told(filled)).toBe(told(value))
        expect(problems.size).toBe(0)
      }),
    )
    const wrong = filledOf(fields, new Map(Object.entries({ name: " ", age: "x", rest: "[" }))).problems
    expect([...wrong.keys()]).toEqual(["name", "age", "rest"])
    expect([wrong.get("name"), wrong.get("age")]).toEqual(["It is needed.", "It must be a number."])
  })

  it("shows at a field what is wrong in it, and what is in none apart", () => {
    const found = [
      { instanceLocation: "#", error: 'Property "rest" does not match schema.' },
      { instanceLocation: "#/rest/0/a~1b%20c", error: "wrong" },
      { instanceLocation: "#/name", error: "String does not match pattern." },
      { instanceLocation: "#/name", error: 'String does not match format "email".' },
      { instanceLocation: "#/unknown", error: "not known" },
    ]
    expect(Object.fromEntries(problemsOf(found, fields))).toEqual({
      rest: "0.a/b c: wrong",
      name: 'String does not match format "email".',
      "": "not known",
    })
  })
})

describe("words for people", () => {
  it("say times and numbers shortly, and never more than is true", () => {
    expect([0, 999, 1_000, 59_999, 125_000, 3_600_000, 90_000_000].map(span)).toEqual([
      "0 ms",
      "999 ms",
      "1.0 s",
      "59.9 s",
      "2 min 5 s",
      "1 h",
      "1 d 1 h",
    ])
    expect([relative(0, 500), relative(0, 12_000), relative(120_000, 0)]).toEqual(["now", "12 s ago", "in 2 min"])
    expect([percent(0, 0), percent(1, 100_000), percent(99_999, 100_000), percent(1, 3), percent(5, 5)]).toEqual([
      "–",
      "< 0.1 %",
      "> 99.9 %",
      "33.3 %",
      "100 %",
    ])
    expect([compact(950), compact(8_533), compact(103_000), compact(1_200_000)]).toEqual(["950", "8.5k", "103k", "1.2M"])
    expect([capped(9_999), capped(10_000)]).toEqual(["9,999", "10,000+"])
  })

  it("show marks that would turn the direction of the page", () => {
    expect(visible("a\u202eb")).toBe("a\\u202eb")
  })
})
