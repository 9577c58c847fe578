/**
 * The story. An EVENT arrives and starts RUNs; both rows are written once and never changed. While a run lives it stands in exactly
 * one of four queues, and moves from one to the next as a row deleted here and inserted there:
 *
 *   timer (due later) → held (a limit has no room) → ready (may be claimed) → lease (a node has it) → … → RESULT (how it ended)
 *
 * So the queues hold live runs only and stay small whatever the history; what a move costs does not grow with it; and a run's state
 * is where it stands. `fence` counts its claims, `attempt` the ones that count as tries, `losses` those whose node died.
 * SLOT has a row for each limit that a run counts against: the occupancy of a limit is the number of its rows. It is only counted and
 * added to under the lock of the limit's row in LIMITER, which also keeps what its rule has to remember.
 * Times are milliseconds since 1970. JSON is text. Ids are made by us and sort by time.
 */
export function schema(): readonly string[] {
  return [...causes, ...queues, ...records, ...registry]
}

/** What came later. Traces are texts as `core/trace.ts` has them. */
export const traces: readonly string[] = [
  // Where the send stands; null where nobody traces, which costs nothing.
  "alter table event add column trace text",
  `create table traced (                 -- runs whose event has no trace, once they have begun one by themselves
      run_id text primary key not null,
      trace text not null
    )`,
]

const causes = [
  `create table event (
      id text primary key not null,
      key text,                            -- the sender's id
      name text not null,
      data text not null,                  -- JSON
      ts bigint not null,                  -- the sender's time; in the future: its runs start then
      received_at bigint not null,
      fanout_id text,
      source_run_id text                   -- the run that sent it
    )`,

  `create table event_key (              -- ids given by senders: within the window they start nothing twice
      key text primary key not null,
      event_id text not null,
      expires_at bigint not null
    )`,
  `create index event_key_expires on event_key (expires_at)`,

  `create table fanout (                 -- several events of one send, and their runs
      id text primary key not null,
      key text,                            -- its sender's name for it: the same again goes on with it
      run_id text,                         -- the run that sent it
      name text not null,
      events bigint not null,
      taken bigint not null,               -- items that its sender has given so far, duplicates included
      cursor text,                         -- where its source goes on
      total bigint not null,               -- runs
      completed bigint not null,
      failed bigint not null,
      cancelled bigint not null,
      created_at bigint not null,
      grown_at bigint not null,
      sealed_at bigint,                    -- when nothing will be added any more
      cancelled_at bigint,
      first_start_at bigint,
      last_end_at bigint,
      since bigint,                        -- when it was last resumed or retried, and what had ended then
      ended_before bigint not null,
      rules text,                          -- JSON: canary and breaker
      gate text,                           -- with rules: 'canary' or 'open'
      paused_at bigint,
      pause_reason text,
      base_ended bigint not null,          -- what had ended and failed when the breaker began to watch
      base_failed bigint not null,
      joins bigint not null,               -- runs that have waited for it
      need bigint                          -- the fewest completed runs that one of them waits for; null: all wait for the end
    )`,
  `create unique index fanout_key on fanout (key) where key is not null`,
  `create index fanout_run on fanout (run_id, id) where run_id is not null`,
  `create index fanout_unsealed on fanout (grown_at) where sealed_at is null`,

  `create table failure_group (          -- failures of a fan-out by their cause, counted with it
      fanout_id text not null,
      fingerprint text not null,
      failures bigint not null,
      first_at bigint not null,
      last_at bigint not null,
      run_id text not null,                -- one of them
      primary key (fanout_id, fingerprint)
    )`,

  `create table wait (                   -- what a run waits for besides a time; the row goes when it has come, once
      run_id text not null,
      step_key text not null,              -- the step that gets it; '$…' for a rule of the function
      kind text not null,                  -- event, signal, run, fanout; cancel and deadline end the run
      topic text not null,                 -- event:<name>, signal:<name>, run:<id>, fanout:<id>
      key text not null,                   -- what the event must have, as data.id="42"; empty: nothing
      condition text,                      -- CEL, when the key does not say it all
      need bigint,                         -- of a fan-out: over when so many have completed, null: when all have ended; of a start: the fence of the run that has not begun
      due_at bigint,                       -- over in any case
      primary key (run_id, step_key)
    )`,
  `create index wait_topic on wait (topic, key)`,
  `create unique index wait_signal on wait (topic) where kind = 'signal'`,
  `create index wait_due on wait (due_at) where due_at is not null`,

  `create table watched (                -- names of events that runs wait for, and the fields they look at: every sender knows them
      name text not null,
      path text not null,
      used_at bigint not null,
      primary key (name, path)
    )`,

  `create table doomed (                 -- runs that are to be cancelled
      run_id text primary key not null,
      reason text not null,
      unbegun bigint not null              -- only while its fence is lower, so while it has not begun; 0: wherever it stands
    )`,

  `create table recall (                 -- runs that were taken from a node while it had them
      node_id text not null,
      run_id text not null,
      at bigint not null,
      primary key (node_id, run_id)
    )`,

  `create table operation (              -- something done to many runs, in parts
      id text primary key not null,
      kind text not null,
      fanout_id text not null,             -- empty: the runs that the filter means
      filter text,                         -- JSON
      fingerprint text,
      run_id text,                         -- this run only
      snapshot_at bigint not null,         -- what came about later is not touched
      cursor text not null,                -- the run up to which it is done
      looks bigint not null,               -- rounds so far
      next_at bigint not null,             -- when its next part may be done
      affected bigint not null,
      created_at bigint not null,
      ended_at bigint,
      stopped bigint not null default 0    -- 1: by hand, before all was done
    )`,
  `create index operation_open on operation (next_at, id) where ended_at is null`,
  `create index operation_ended on operation (ended_at) where ended_at is not null`,

  `create table finished (               -- fan-outs that have ended and were not announced yet
      fanout_id text primary key not null
    )`,

  `create table run (
      id text primary key not null,
      function_id text not null,
      event_id text not null,
      fanout_id text,
      parent_id text,                      -- the run whose send caused this one
      created_at bigint not null,
      rank bigint not null,                -- its place in the line of its function: when it was first due, less its priority
      limits text                          -- JSON: those it began with, for whoever runs it again
    )`,
  `create index run_function on run (function_id, id)`,
  `create index run_event on run (event_id)`,
  `create index run_fanout on run (fanout_id, id) where fanout_id is not null`,
  `create index run_parent on run (parent_id, id) where parent_id is not null and fanout_id is null`,

  `create table batched (                -- events of a batch after its first one
      run_id text not null,
      event_id text not null,
      primary key (run_id, event_id)
    )`,
  `create index batched_event on batched (event_id)`,
]

/** `limits`: JSON, see `queue.ts`. */
const queueColumns = `function_id text not null,
      rank bigint not null,
      attempt bigint not null,
      fence bigint not null,
      losses bigint not null,
      limits text`

const queues = [
  `create table timer (                  -- due later: a delayed start or a retry ('scheduled'), a sleep ('waiting')
      due_at bigint not null,
      run_id text not null,
      state text not null,
      ${queueColumns},
      primary key (due_at, run_id)
    )`,
  `create unique index timer_run on timer (run_id)`,

  `create table held (                   -- out of the line because limit_key has no room
      limit_key text not null,
      rank bigint not null,
      run_id text not null,
      function_id text not null,
      attempt bigint not null,
      fence bigint not null,
      losses bigint not null,
      limits text,
      primary key (limit_key, rank, run_id)
    )`,
  `create index held_run on held (run_id)`,

  `create table ready (
      function_id text not null,
      rank bigint not null,
      run_id text not null,
      attempt bigint not null,
      fence bigint not null,
      losses bigint not null,
      limits text,
      primary key (function_id, rank, run_id)
    )`,

  `create table slot (
      limit_key text not null,
      run_id text not null,
      primary key (limit_key, run_id)
    )`,

  `create table limiter (                -- a limit that runs are held by: whoever gives out its room locks its row
      key text primary key not null,
      max bigint,                          -- set by hand: in place of what the runs say
      rate bigint,                         -- of a throttle or a rate limit: microseconds, see core/gate.ts
      pending text,                        -- of a debounce or a batch: JSON, the run that waits for more events
      held_until bigint,                   -- no run starts under it before
      due_at bigint,                       -- held runs may go on by time alone: look again then
      keep_until bigint not null default 0 -- may be forgotten when nobody counts against it
    )`,
  `create index limiter_due on limiter (due_at) where due_at is not null`,
  `create index limiter_set on limiter (key) where max is not null`,
  `create index limiter_forget on limiter (keep_until) where max is null`,

  `create table lease (
      run_id text primary key not null,
      node_id text not null,
      claimed_at bigint not null,
      ${queueColumns}
    )`,
]

const records = [
  `create table step (                   -- written once when it is final; a waiting or retrying one is replaced
      run_id text not null,
      key text not null,
      fence bigint not null,               -- the claim that wrote it
      kind text not null,
      state text not null,
      attempts bigint not null,
      output text,
      failure text,
      due_at bigint,
      started_at bigint not null,
      ended_at bigint not null,
      primary key (run_id, key)
    )`,

  `create table attempt (                -- attempts that did not complete their run
      run_id text not null,
      fence bigint not null,
      attempt bigint not null,
      started_at bigint not null,
      ended_at bigint not null,
      failure text not null,
      primary key (run_id, fence)
    )`,

  `create table log (
      run_id text not null,
      line bigint not null,                -- counts on over attempts
      fence bigint not null,
      at bigint not null,
      level text not null,
      message text not null,
      fields text,
      primary key (run_id, line, fence)
    )`,

  `create table result (                 -- how a run ended
      run_id text primary key not null,
      state text not null,
      attempt bigint not null,
      output text,
      failure text,
      fingerprint text,                    -- what failures of the same cause have in common
      reason text,                         -- why it was skipped or cancelled
      started_at bigint not null,
      ended_at bigint not null
    )`,
  `create index result_unusual on result (state, run_id) where state <> 'completed'`,
]

const registry = [
  `create table function (
      id text primary key not null,
      app_id text not null,
      definition text not null,            -- JSON
      updated_at bigint not null,
      retired_at bigint,                   -- its app does not offer it any more
      paused text                          -- 'keep' or 'skip': what becomes of new runs meanwhile
    )`,

  `create table app (                    -- apps that are called over HTTP
      id text primary key not null,
      url text not null,
      sdk text not null,
      framework text,
      calls text not null,                 -- JSON: where each function is called
      checksum text not null,              -- of what it registered
      updated_at bigint not null
    )`,

  `create table registry (               -- one row: its version grows with each change of a function
      id bigint primary key not null,
      version bigint not null
    )`,

  `create table schedule (
      id text primary key not null,
      app_id text,                         -- whose code it is in; null: made at run time
      function_id text,                    -- starts a run of it
      event text,                          -- or sends an event of this name
      rule text not null,                  -- JSON
      policies text,                       -- JSON; null: the defaults
      data text,                           -- JSON
      tag text,
      created_at bigint not null,
      updated_at bigint not null,
      last_tick_at bigint,                 -- the newest decided moment: only grows; outlives the ticks
      next_tick_at bigint,                 -- the first moment that is not decided
      next_at bigint,                      -- when to look at it again
      waiting_at bigint,                   -- a moment that waits for the one before to end
      last_event_id text,                  -- what the last moment started with
      paused_at bigint,
      note text,
      ended_at bigint                      -- when it was known that no moment will come any more
    )`,
  `create index schedule_next on schedule (next_at) where next_at is not null`,
  `create index schedule_app on schedule (app_id) where app_id is not null`,
  `create index schedule_tag on schedule (tag, id) where tag is not null`,
  `create index schedule_ended on schedule (ended_at) where ended_at is not null`,

  `create table tick (                   -- one moment of a schedule: unique for ever
      schedule_id text not null,
      at bigint not null,
      outcome text not null,
      reason text,
      event_id text,
      run_id text,                         -- the first run of that event
      decided_at bigint not null,
      primary key (schedule_id, at)
    )`,
  `create index tick_decided on tick (decided_at)`,

  `create table moving (                 -- rows of another store are on their way into this one
      source text primary key not null     -- when that one was made
    )`,
  `create table moved (                  -- this store's rows live elsewhere now
      id bigint primary key not null,
      place text not null,
      at bigint not null
    )`,

  `create table tally (                  -- what one node saw end in one minute: of one function, or of all ('')
      function_id text not null,
      at bigint not null,
      node_id text not null,
      completed bigint not null,
      failed bigint not null,
      retried bigint not null,
      durations text not null,             -- JSON: counts by size
      delays text not null,
      primary key (function_id, at, node_id)
    )`,
  `create index tally_at on tally (at)`,

  `create table logout (                 -- logins of people that ended before their cookies do
      key_id text not null,
      login_id text not null,              -- empty: all that began with the key until then
      at bigint not null,
      until_at bigint not null,            -- when the cookie ends by itself
      primary key (key_id, login_id)
    )`,

  `create table node (
      id text primary key not null,
      host text not null,
      pid bigint not null,
      started_at bigint not null,
      seen_at bigint not null,
      functions text not null              -- JSON: ids of the functions whose code it has
    )`,
]
