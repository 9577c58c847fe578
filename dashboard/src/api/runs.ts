import { useInfiniteQuery } from "@tanstack/react-query"
import { useMemo } from "react"
import type { RunSummary } from "../../../src/protocol/views.ts"
import type { RunSearch } from "../search.ts"
import { often, queryClient, useAsk } from "./ask.ts"
import { get } from "./client.ts"

const pageRows = 100
const nobody: readonly RunSummary[] = []

interface Runs {
  readonly items: readonly RunSummary[]
  /** What is known to have become of some of them since they were listed. */
  readonly since: ReadonlyMap<string, RunSummary>
  readonly loading: boolean
  readonly error: Error | null
  readonly more: boolean
  readonly loadMore: () => void
  /** Runs that came since, at most `pageRows` of which are known. */
  readonly fresh: number
  readonly pageRows: number
  readonly show: () => void
}

/**
 * The runs that a filter lets through, page by page. The list stands still while one reads: the newest page is looked at besides, for
 * what became of the runs that are shown, and to count those that came since.
 */
export function useRuns(search: RunSearch): Runs {
  const query = { ...search, limit: pageRows }
  const key = ["runs", "pages", search]
  const pages = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam, signal }) => get("runs", { query: { ...query, ...(pageParam === "" ? {} : { after: pageParam }) } }, signal),
    initialPageParam: "",
    getNextPageParam: ({ next }) => next,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
    // Pages are only added: to compare all that are there with each new one would take longer the further one scrolls.
    structuralSharing: false,
  })
  const head = useAsk("runs", { query }, { every: often, when: pages.data !== undefined })
  const newest = head.isPlaceholderData ? nobody : (head.data?.items ?? nobody)
  const items = useMemo(() => pages.data?.pages.flatMap((page) => page.items) ?? [], [pages.data])
  const since = useMemo(() => new Map(newest.map((run) => [run.id, run])), [newest])
  const top = items[0]?.id ?? ""
  const fresh = pages.data === undefined ? 0 : newest.filter(({ id }) => id > top).length
  const show = (): void => void queryClient.resetQueries({ queryKey: key })
  return {
    items,
    since,
    loading: pages.data === undefined && pages.error === null,
    error: pages.error,
    more: pages.hasNextPage,
    loadMore: () => {
      if (!pages.isFetchingNextPage) void pages.fetchNextPage()
    },
    fresh,
    pageRows,
    show,
  }
}
