// app/api/fanfare/route.ts of a Next.js project: each step is a short request, so no function limit ends a long run.
import { serve } from "fanfare/next"
import { fanfare } from "./functions.ts"

export const { GET, POST, PUT } = serve({ client: fanfare })
