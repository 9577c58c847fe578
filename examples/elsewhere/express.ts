// Functions behind Express: node examples/elsewhere/express.ts, then npx fanfare dev -u http://localhost:3000/api/fanfare
import express from "express"
import { serve } from "fanfare/express"
import { fanfare } from "./functions.ts"

const app = express()
app.use(express.json({ limit: "10mb" }))
app.use("/api/fanfare", serve({ client: fanfare }))
app.listen(3000, () => console.log("functions at http://localhost:3000/api/fanfare"))
