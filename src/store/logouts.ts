import { limits } from "../core/limits.ts"
import type { Login } from "../core/login.ts"
import type { Db } from "./db.ts"

/**
 * Remembers that a login has ended until its cookie would have: every server on the store refuses it from now on. Of one key so many
 * are remembered; with the next one all its logins end. Runs in a transaction.
 */
export async function logOut(db: Db, { id, keyId, beganAt }: Login, now: number): Promise<void> {
  await db.execute("delete from logout where until_at <= $1", [now])
  const [known] = await db.query<{ n: number }>("select count(*) as n from logout where key_id = $1", [keyId])
  if ((known?.n ?? 0) < limits.logoutsPerKey) {
    await addLogout(db, keyId, id, now, beganAt + limits.sessionMs)
    return
  }
  await db.execute("delete from logout where key_id = $1", [keyId])
  await addLogout(db, keyId, allLogins, now, now + limits.sessionMs)
}

const allLogins = ""

async function addLogout(db: Db, keyId: string, loginId: string, at: number, untilAt: number): Promise<void> {
  await db.execute(
    `insert into logout (key_id, login_id, at, until_at) values ($1, $2, $3, $4)
       on conflict (key_id, login_id) do update set at = excluded.at, until_at = excluded.until_at`,
    [keyId, loginId, at, untilAt],
  )
}

export async function isLoggedOut(db: Db, { id, keyId, beganAt }: Login): Promise<boolean> {
  const rows = await db.query("select 1 from logout where key_id = $1 and (login_id = $2 or (login_id = $3 and at >= $4)) limit 1", [
    keyId,
    id,
    allLogins,
    beganAt,
  ])
  return rows.length > 0
}
