import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { Fanfare, NonRetriableError } from "fanfare"
import { z } from "zod"

const product = z.object({ sku: z.string(), title: z.string(), price: z.number(), stock: z.number().int() })

// npx fanfare dev examples/product-import/app.ts
// npx fanfare trigger nightly-import --watch
export const shop = new Fanfare({ id: "shop", schemas: { "shop/product.changed": product } })

const database = new DatabaseSync(process.env["SHOP_DB"] ?? ":memory:")
database.exec("create table if not exists product (sku text primary key, title text, price real, stock integer)")

/** Every night at two, in Paris: one run for each product of the catalogue. */
export const nightlyImport = shop.createFunction(
  { id: "nightly-import", triggers: [{ cron: "0 2 * * *", timezone: "Europe/Paris" }] },
  async ({ logger }) => {
    const lines = createInterface({ input: createReadStream(new URL("./catalogue.jsonl", import.meta.url)) })
    const products: z.infer<typeof product>[] = []
    for await (const line of lines) products.push(product.parse(JSON.parse(line)))
    const { fanoutId } = await shop.send(products.map((data) => ({ name: "shop/product.changed" as const, data })))
    logger.info("catalogue read", { products: products.length, fanoutId })
  },
)

/** One product: a broken one fails alone and is kept with its reason; the others go on. */
export const importProduct = shop.createFunction(
  { id: "import-product", triggers: [{ event: "shop/product.changed" }], concurrency: { limit: 20 } },
  async ({ event, step }) => {
    const { sku, title, price, stock } = event.data
    const cents = await step.run("price in cents", () => {
      if (price < 0) throw new NonRetriableError(`${sku} has the price ${price}`)
      return Math.round(price * 100)
    })
    await step.run("save", () => {
      database
        .prepare(
          "insert into product values (?, ?, ?, ?) on conflict (sku) do update set title = excluded.title, price = excluded.price, stock = excluded.stock",
        )
        .run(sku, title, cents, stock)
    })
  },
)
