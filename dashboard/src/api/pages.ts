import { useInfiniteQuery } from "@tanstack/react-query"
import { useMemo } from "react"
import type { Page } from "../../../src/protocol/views.ts"
import type { Answers } from "../../../src/protocol/operations.ts"
import { live } from "../settings.ts"
import { pace, useHears } from "./ask.ts"
import { get, givenTo, type Route } from "./client.ts"

const pageRows = 50
/** Rows that are looked at again while the page is open: the first pages of a list. */
const pagesFollowed = 3

type Listed = { [R in Route]: Answers[R] extends Page<{ readonly id: string }> ? R : never }[Route]
type Item<R extends Listed> = Answers[R]["items"][number]

export interface Pages<T> {
  readonly items: readonly T[]
  readonly loading: boolean
  readonly error: Error | null
  readonly more: boolean
  readonly loadingMore: boolean
  readonly loadMore: () => void
  readonly again: () => void
}

/** A list page by page, newest first. */
export function usePages<R extends Listed>(route: R, every: number): Pages<Item<R>> {
  const [following, hears] = [live.use(), useHears()]
  const pages = useInfiniteQuery({
    queryKey: [route, "pages"],
    queryFn: async ({ pageParam, signal }) =>
      (await get(route, ...givenTo<R>({ query: { limit: pageRows, ...(pageParam === "" ? {} : { after: pageParam }) } }, signal))) as Page<
        Item<R>
      >,
    initialPageParam: "",
    getNextPageParam: ({ next }) => next,
    refetchInterval: (query) => pace(following && (query.state.data?.pages.length ?? 0) <= pagesFollowed, hears, every),
    refetchOnWindowFocus: false,
  })
  const items = useMemo(() => pages.data?.pages.flatMap((page) => page.items) ?? [], [pages.data])
  return {
    items,
    loading: pages.data === undefined && pages.error === null,
    error: pages.error,
    more: pages.hasNextPage,
    loadingMore: pages.isFetchingNextPage,
    loadMore: () => void pages.fetchNextPage(),
    again: () => void pages.refetch(),
  }
}
