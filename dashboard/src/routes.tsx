import { createRootRoute, createRoute, createRouter, type ErrorComponentProps, lazyRouteComponent, Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import { Frame } from "./frame/frame.tsx"
import { Page } from "./frame/page.tsx"
import { OverviewPage } from "./pages/overview.tsx"
import { Empty } from "./parts/copy.tsx"
import { ProblemBox } from "./parts/problem.tsx"
import { rangeSearch, runSearch } from "./search.ts"

function Nowhere(): ReactNode {
  return (
    <Page title="Not found">
      <Empty title="There is nothing here.">
        <p>
          The address may be mistyped, or what it named is past its retention. <Link to="/">Back to the overview</Link>
        </p>
      </Empty>
    </Page>
  )
}

function Broken({ error }: ErrorComponentProps): ReactNode {
  return (
    <Page title="Something went wrong">
      <ProblemBox error={error instanceof Error ? error : new Error(String(error))} again={() => location.reload()} />
    </Page>
  )
}

const root = createRootRoute({ component: Frame, notFoundComponent: Nowhere })
const at = { getParentRoute: () => root }

const overviewRoute = createRoute({ ...at, path: "/", component: OverviewPage, validateSearch: rangeSearch })
const runsRoute = createRoute({
  ...at,
  path: "/runs",
  component: lazyRouteComponent(() => import("./pages/runs.tsx"), "RunsPage"),
  validateSearch: runSearch,
})
const runRoute = createRoute({ ...at, path: "/runs/$id", component: lazyRouteComponent(() => import("./pages/run.tsx"), "RunPage") })
const fanoutsRoute = createRoute({
  ...at,
  path: "/fan-outs",
  component: lazyRouteComponent(() => import("./pages/fanouts.tsx"), "FanoutsPage"),
})
const fanoutRoute = createRoute({
  ...at,
  path: "/fan-outs/$id",
  component: lazyRouteComponent(() => import("./pages/fanout.tsx"), "FanoutPage"),
})
const functionsRoute = createRoute({
  ...at,
  path: "/functions",
  component: lazyRouteComponent(() => import("./pages/functions.tsx"), "FunctionsPage"),
})
const functionRoute = createRoute({
  ...at,
  path: "/functions/$id",
  component: lazyRouteComponent(() => import("./pages/function.tsx"), "FunctionPage"),
  validateSearch: rangeSearch,
})
const eventsRoute = createRoute({ ...at, path: "/events", component: lazyRouteComponent(() => import("./pages/events.tsx"), "EventsPage") })
const eventRoute = createRoute({
  ...at,
  path: "/events/$id",
  component: lazyRouteComponent(() => import("./pages/event.tsx"), "EventPage"),
})
const schedulesRoute = createRoute({
  ...at,
  path: "/schedules",
  component: lazyRouteComponent(() => import("./pages/schedules.tsx"), "SchedulesPage"),
})
const scheduleRoute = createRoute({
  ...at,
  path: "/schedules/$id",
  component: lazyRouteComponent(() => import("./pages/schedule.tsx"), "SchedulePage"),
})
const failuresRoute = createRoute({
  ...at,
  path: "/failures",
  component: lazyRouteComponent(() => import("./pages/failures.tsx"), "FailuresPage"),
})
const operationsRoute = createRoute({
  ...at,
  path: "/operations",
  component: lazyRouteComponent(() => import("./pages/operations.tsx"), "OperationsPage"),
})
const nodesRoute = createRoute({ ...at, path: "/nodes", component: lazyRouteComponent(() => import("./pages/nodes.tsx"), "NodesPage") })
const settingsRoute = createRoute({
  ...at,
  path: "/settings",
  component: lazyRouteComponent(() => import("./pages/settings.tsx"), "SettingsPage"),
})

const routeTree = root.addChildren([
  overviewRoute,
  runsRoute,
  runRoute,
  fanoutsRoute,
  fanoutRoute,
  functionsRoute,
  functionRoute,
  eventsRoute,
  eventRoute,
  schedulesRoute,
  scheduleRoute,
  failuresRoute,
  operationsRoute,
  nodesRoute,
  settingsRoute,
])

export const router = createRouter({
  routeTree,
  basepath: new URL(document.baseURI).pathname,
  defaultErrorComponent: Broken,
  defaultPreload: "intent",
})

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router
  }
}
