import type * as Api from "@opentelemetry/api"
import { openTelemetry, scopeName } from "./api.ts"

/** A number, or several told apart by their labels. `L`: what it is read from. */
export interface Observed<L> {
  /** In the manner of Prometheus, with its unit and kind at the end. */
  readonly name: string
  readonly kind: "gauge" | "counter"
  readonly help: string
  read(look: L): Iterable<readonly [labels: Readonly<Record<string, string>>, value: number]>
}

/** The meter of a registered SDK; null when there is none. */
function meter(): Api.Meter | null {
  const api = openTelemetry()
  const found = api?.metrics.getMeter(scopeName)
  return found === undefined || found === api?.createNoopMeter() ? null : found
}

/** Whether an SDK wants metrics. */
export function isMetered(): boolean {
  return meter() !== null
}

/** Gives numbers when the SDK asks for them, all from one look; gives the way to stop. */
export function observe<L>(metrics: readonly Observed<L>[], look: () => Promise<L>): () => void {
  const found = meter()
  if (found === null) return () => undefined
  const pairs = metrics.map((metric) => {
    const { name, unit } = toOpenTelemetry(metric.name)
    const options = { description: metric.help, unit }
    return [
      metric,
      metric.kind === "gauge" ? found.createObservableGauge(name, options) : found.createObservableCounter(name, options),
    ] as const
  })
  const instruments = pairs.map(([, instrument]) => instrument)
  const callback: Api.BatchObservableCallback = async (result) => {
    const seen = await look()
    for (const [metric, instrument] of pairs) for (const [labels, value] of metric.read(seen)) result.observe(instrument, value, labels)
  }
  found.addBatchObservableCallback(callback, instruments)
  return () => found.removeBatchObservableCallback(callback, instruments)
}

/** A histogram of the SDK: give it each value. Null when there is no SDK. */
export function recorder(prometheusName: string, help: string, bounds: readonly number[]): ((value: number) => void) | null {
  const { name, unit } = toOpenTelemetry(prometheusName)
  const options = { description: help, unit, advice: { explicitBucketBoundaries: [...bounds] } }
  const histogram = meter()?.createHistogram(name, options)
  return histogram === undefined ? null : (value) => histogram.record(value)
}

/** OpenTelemetry has unit and kind beside the name: whoever exports to Prometheus gets the same name again. */
export function toOpenTelemetry(name: string): { readonly name: string; readonly unit: string } {
  const unit = /_seconds(_total)?$/.test(name) ? "s" : ""
  return {
    name: name
      .replace(/_total$/, "")
      .replace(/_seconds$/, "")
      .replaceAll("_", "."),
    unit,
  }
}
