import type { ReactNode } from "react"
import type { FunctionSummary, LimitSummary } from "../../../src/protocol/views.ts"
import { span, visible } from "../format.ts"
import type { NamedLimit } from "./limit-rows.tsx"

type Functions = ReadonlyMap<string, FunctionSummary>

interface Parsed {
  readonly functionId: string
  readonly throttle: boolean
  /** Which concurrency rule of the function, from 0. */
  readonly rule: number
  /** The value of its key. */
  readonly value: string | null
}

/** The name of a function's own limit, taken apart: `fn:shop-digest#2:acme`, `throttle:shop-digest`. */
function parse(id: string): Parsed | null {
  const [, kind, functionId = "", rule, value] = /^(fn|throttle):([\w.-]+)(?:#(\d+))?(?::(.*))?$/s.exec(id) ?? []
  return kind === undefined ? null : { functionId, throttle: kind === "throttle", rule: Number(rule ?? 1) - 1, value: value ?? null }
}

/** What a limit bounds, in the words of the rule that it comes from. */
export function named(limit: LimitSummary, functions: Functions, showFunction: boolean): NamedLimit {
  const parsed = parse(limit.id)
  if (parsed === null) return { ...limit, name: <code>{visible(limit.id)}</code>, per: null }
  const flow = functions.get(parsed.functionId)?.flow ?? null
  const rule = parsed.throttle ? flow?.throttle : flow?.concurrency[parsed.rule]
  const words = parsed.throttle
    ? "starts"
    : rule !== undefined && rule !== null && "mode" in rule && rule.mode === "run"
      ? "whole runs"
      : "at a time"
  const name: ReactNode = (
    <>
      {showFunction ? `${parsed.functionId} ` : null}
      {parsed.value === null ? null : (
        <>
          <code className="faint">{rule?.key ?? "key"}</code> = <code>{visible(parsed.value)}</code>{" "}
        </>
      )}
      <span className="faint">{words}</span>
    </>
  )
  return { ...limit, name, per: parsed.throttle ? (flow?.throttle ? span(flow.throttle.periodMs) : "period") : null }
}

/** The limits of a function that have no key, although nothing counts against them now. */
export function unused({ id, flow }: FunctionSummary, known: readonly LimitSummary[]): readonly LimitSummary[] {
  if (flow === null) return []
  const idle = (name: string, own: number): LimitSummary[] =>
    known.some((limit) => limit.id === name) ? [] : [{ id: name, own, max: own, setByHand: false, used: 0, held: 0, heldUntil: null }]
  return [
    ...flow.concurrency.flatMap(({ limit, key, scope }, i) =>
      key === null && scope === "fn" ? idle(`fn:${id}${i === 0 ? "" : `#${i + 1}`}`, limit) : [],
    ),
    ...(flow.throttle !== null && flow.throttle.key === null ? idle(`throttle:${id}`, flow.throttle.limit) : []),
  ]
}
