import { keepPreviousData, QueryClient, useQuery, type UseQueryResult } from "@tanstack/react-query"
import type { Asked } from "../../../src/protocol/client.ts"
import type { Answers } from "../../../src/protocol/operations.ts"
import { live } from "../settings.ts"
import { connected, get, givenTo, type Route } from "./client.ts"
import { told } from "./stream.ts"

/** Milliseconds between two looks at what moves, and at what hardly does. */
export const often = 2_000
export const seldom = 10_000
/** The same while the server tells what changes: a look for what it may not have told. */
export const calm = 20_000

export const queryClient = new QueryClient({
  // Whoever looks regularly need not try again at once.
  defaultOptions: { queries: { retry: false, staleTime: 500, networkMode: "always" } },
})

/** What a route answers: asked again every so many milliseconds while the page is visible and live. */
export function useAsk<R extends Route>(
  route: R,
  asked?: Asked<R>,
  options: { readonly every?: number | undefined; readonly when?: boolean } = {},
): UseQueryResult<Answers[R]> {
  const [following, hears] = [live.use(), useHears()]
  const { params, query = {} }: { readonly params?: object | undefined; readonly query?: object | undefined } = asked ?? {}
  return useQuery({
    queryKey: [route, params ?? {}, query],
    queryFn: ({ signal }): Promise<Answers[R]> => get(route, ...givenTo<R>(asked ?? {}, signal)),
    refetchInterval: pace(following, hears, options.every),
    refetchOnWindowFocus: following,
    enabled: options.when ?? true,
    // A new filter shows the old answer until the new one is there; another thing does not.
    ...(params === undefined ? { placeholderData: keepPreviousData } : {}),
  })
}

export function useCells(id: string, every: number | undefined): UseQueryResult<string> {
  const [following, hears] = [live.use(), useHears()]
  return useQuery({
    queryKey: ["fanoutCells", id],
    queryFn: ({ signal }) => get("fanoutCells", { params: { id } }, signal),
    refetchInterval: pace(following, hears, every),
    refetchOnWindowFocus: following,
  })
}

/** Whether changes are told, and questions answered: who gets no answer asks again soon. */
export function useHears(): boolean {
  const [hears, answers] = [told.use(), connected.use()]
  return hears && answers
}

/** How often to ask: not at all while one does not follow, seldom while the server tells what changes. */
export function pace(following: boolean, hears: boolean, every: number | undefined): number | false {
  if (!following || every === undefined) return false
  return hears ? Math.max(every, calm) : every
}

/** Look at everything again: something was done. */
export function lookAgain(): void {
  void queryClient.invalidateQueries()
}
