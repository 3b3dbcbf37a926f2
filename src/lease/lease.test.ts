/** A lease by a clock and a program of the test's own: when requests may be sent, and when not, however the program fails. */
import assert from "node:assert/strict"
import { test } from "node:test"
import type { Clock } from "./clock.ts"
import { Lease, type LeaseOptions } from "./lease.ts"
import type { Action, LeaseProgram, Outcome } from "./program.ts"

/** Timers are called in their order, each at its time; what promises do in between is waited for. */
class FakeClock implements Clock {
  #now = 0
  readonly #timers = new Set<{ readonly at: number; readonly call: () => void }>()

  now(): number {
    return this.#now
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.#now + ms, call }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  get idle(): boolean {
    return this.#timers.size === 0
  }

  /** The machine sleeps: time passes and no timer is called. */
  sleep(ms: number): void {
    this.#now += ms
  }

  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    for (;;) {
      await settle()
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.call()
    }
    this.#now = Math.max(this.#now, end)
    await settle()
  }
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve))

const DONE: Outcome = { kind: "done", said: "" }
const TAKEN: Outcome = { kind: "other", owner: "far:9:0123456789abcdef", seconds: 41 }
const BROKEN: Outcome = { kind: "failed", reason: "no monitor answers" }

interface At {
  readonly clock: FakeClock
  readonly log: string[]
  /** Every call of the program: "12 renew", at which second. */
  readonly calls: string[]
  readonly program: LeaseProgram
}

/** `answer`: what the program makes of a call, after however long. */
function setUp(answer: (action: Action, clock: FakeClock) => Outcome | Promise<Outcome>): At {
  const clock = new FakeClock()
  const calls: string[] = []
  const program: LeaseProgram = {
    name: "fake:store",
    owner: "here:1:fedcba9876543210",
    run: async (action) => {
      calls.push(`${Math.round(clock.now() / 1000)} ${action}`)
      return answer(action, clock)
    },
  }
  return { clock, log: [], calls, program }
}

const take = ({ clock, log, program }: At, options: Partial<LeaseOptions> = {}) =>
  Lease.take(program, "nbd://store/", {
    seconds: 60,
    graceMs: 30_000,
    clock,
    log: (message) => log.push(message),
    ...options,
  })

const codeOf = (lease: Lease): string | undefined => lease.refusal?.code

/** "resolved", "pending" or the code and message of the rejection. */
async function stateOf(work: Promise<void>): Promise<string> {
  let state = "pending"
  work.then(
    () => (state = "resolved"),
    (error) => (state = `${error.code} ${error.message}`),
  )
  await settle()
  return state
}

test("it is acquired, fenced, renewed every sixth of its time, and given back", async () => {
  const at = setUp(() => DONE)
  const lease = await take(at)
  assert.equal(lease.refusal, null)
  assert.deepEqual(lease.status, {
    name: "fake:store",
    owner: "here:1:fedcba9876543210",
    state: "held",
    seconds: 50,
    reason: null,
  })
  await at.clock.pass(600_000)
  assert.equal(lease.refusal, null)
  await lease.release(true)
  const renewals = Array.from({ length: 60 }, (_, i) => `${10 * (i + 1)} renew`)
  assert.deepEqual(at.calls, ["0 acquire", "0 fence", ...renewals, "600 release"])
  assert.deepEqual(at.log, [])
  assert.equal(codeOf(lease), "ESHUTDOWN")
  assert.equal(at.clock.idle, true)
})

test("what fencing said is logged", async () => {
  const at = setUp((action) => (action === "fence" ? { kind: "done", said: "blocklisted a\nblocklisted b" } : DONE))
  const facts: unknown[] = []
  await take(at, { log: (message, more) => facts.push([message, more]) })
  const said = "blocklisted a; blocklisted b"
  assert.deepEqual(facts, [["fenced the last owner of the store", { lease: "fake:store", said }]])
})

test("one that another has is refused in words that name it and its time, and is not given back", async () => {
  const at = setUp(() => TAKEN)
  await assert.rejects(take(at), {
    code: "LEASE_HELD",
    exitCode: 5,
    message:
      "Cannot open nbd://store/: far (process 9) has the lease fake:store, for 41 s more unless renewed; " +
      "close the volume there, or wait until the lease of a dead host has expired",
  })
  assert.deepEqual(at.calls, ["0 acquire"])
  const unnamed = setUp(() => ({ kind: "other", owner: null, seconds: null }))
  await assert.rejects(take(unnamed), { message: /: another owner has the lease fake:store; close/ })
})

for (const [action, more] of [
  ["acquire", ""],
  ["fence", "fence: "],
] as const)
  test(`when ${action} fails, the volume is not opened and the lease is given back`, async () => {
    const at = setUp((asked) => (asked === action ? BROKEN : DONE))
    await assert.rejects(take(at), {
      code: "LEASE_FAILED",
      exitCode: 4,
      message: `Cannot open nbd://store/: the lease fake:store cannot be taken: ${more}no monitor answers`,
    })
    assert.equal(at.calls.at(-1), "0 release")
    await at.clock.pass(600_000)
    assert.equal(at.calls.at(-1), "0 release")
    assert.equal(at.clock.idle, true)
  })

test("an answer that comes when the time is over again is not a lease", async () => {
  const at = setUp((action, clock) => {
    if (action === "acquire") clock.sleep(55_000)
    return action === "renew" ? BROKEN : DONE
  })
  await assert.rejects(take(at), { code: "LEASE_FAILED", message: /was not renewed in time/ })
})

test("it is renewed while fencing takes long", async () => {
  let fenced = (_outcome: Outcome) => {}
  const at = setUp((action) => (action === "fence" ? new Promise((resolve) => (fenced = resolve)) : DONE))
  const taking = take(at)
  await at.clock.pass(100_000)
  fenced(DONE)
  assert.equal((await taking).refusal, null)
  assert.equal(at.calls.at(-1), "100 renew")
})

test("without a renewal, requests stop a sixth before the store lets others in; wait; and end in EIO", async () => {
  const at = setUp((action) => (action === "renew" ? BROKEN : DONE))
  const lease = await take(at)
  await at.clock.pass(49_999)
  assert.equal(lease.refusal, null)
  assert.equal(lease.status.reason, "no monitor answers")
  const waiting = lease.regained()
  assert.equal(await stateOf(waiting), "resolved")
  await at.clock.pass(1)
  assert.equal(codeOf(lease), "EIO")
  const late = lease.regained()
  assert.equal(await stateOf(late), "pending")
  assert.deepEqual([lease.status.state, lease.status.seconds], ["late", 0])
  await at.clock.pass(30_000)
  const words = "EIO the lease fake:store was not renewed in time (no monitor answers); look at its store"
  assert.equal(await stateOf(late), words)
  assert.equal(await stateOf(lease.regained()), words)
  assert.equal(lease.status.state, "expired")
  assert.deepEqual(at.log, [
    "the lease was not renewed",
    "the lease is late: requests wait",
    "the lease is late: requests end in EIO",
  ])
  // After a failure it is tried twice as often.
  assert.deepEqual(at.calls.slice(2, 6), ["10 renew", "15 renew", "20 renew", "25 renew"])
})

test("a late one that is renewed after all goes on, also when requests ended in EIO before", async () => {
  for (const [failing, pending] of [
    [60_000, "resolved"],
    [100_000, /^EIO /],
  ] as const) {
    let outcome: Outcome = DONE
    const at = setUp((action) => (action === "renew" ? outcome : DONE))
    const lease = await take(at)
    outcome = BROKEN
    await at.clock.pass(50_000)
    const waiting = lease.regained()
    await at.clock.pass(failing - 50_000)
    outcome = DONE
    await at.clock.pass(5000)
    assert.match(await stateOf(waiting), new RegExp(pending))
    assert.equal(lease.refusal, null)
    assert.deepEqual([lease.status.state, lease.status.reason], ["held", null])
    assert.equal(at.log.at(-1), "the lease is held again")
    await at.clock.pass(600_000)
    assert.equal(at.log.at(-1), "the lease is held again")
  }
})

test("one that another took is lost for good, whether it was late or not", async () => {
  for (const before of [DONE, BROKEN]) {
    let outcome: Outcome = before
    const at = setUp((action) => (action === "renew" ? outcome : DONE))
    const lease = await take(at)
    await at.clock.pass(before === DONE ? 20_000 : 60_000)
    const waiting = lease.regained()
    outcome = TAKEN
    await at.clock.pass(10_000)
    outcome = DONE
    await at.clock.pass(600_000)
    const words =
      "the lease fake:store was lost to far (process 9); close the volume here, and open it again when it is free"
    assert.equal(lease.refusal?.message, words)
    assert.equal(await stateOf(lease.regained()), `EIO ${words}`)
    assert.equal(await stateOf(waiting), before === DONE ? "resolved" : `EIO ${words}`)
    assert.equal(await stateOf(lease.ended), "resolved")
    assert.deepEqual([lease.status.state, lease.status.reason], ["lost", words])
    assert.equal(at.clock.idle, true)
    const { length } = at.calls
    await lease.release(true)
    assert.equal(at.calls.length, length)
  }
})

test("a machine that slept past the time refuses at once, before any timer was called", async () => {
  const at = setUp(() => DONE)
  const lease = await take(at)
  at.clock.sleep(50_000)
  assert.equal(codeOf(lease), "EIO")
  assert.equal(lease.status.state, "late")
  const waiting = lease.regained()
  await at.clock.pass(0)
  assert.equal(await stateOf(waiting), "resolved")
  assert.equal(lease.refusal, null)
})

test("a renewal counts from when it was asked for, not from its answer", async () => {
  let answer = (_outcome: Outcome) => {}
  const at = setUp((action) => (action === "renew" ? new Promise((resolve) => (answer = resolve)) : DONE))
  const lease = await take(at)
  await at.clock.pass(25_000)
  answer(DONE)
  await settle()
  assert.equal(lease.status.seconds, 35)
  // The next is asked for at once: it is past its time.
  await at.clock.pass(0)
  assert.equal(at.calls.at(-1), "25 renew")
  await at.clock.pass(90_000)
  answer(DONE)
  await settle()
  assert.equal(lease.status.state, "expired")
})

test("release waits for a renewal under way; one that is not clean is left to expire; a failed one is logged", async () => {
  let answer = (_outcome: Outcome) => {}
  let release: Outcome = BROKEN
  const at = setUp((action) => {
    if (action === "renew") return new Promise((resolve) => (answer = resolve))
    return action === "release" ? release : DONE
  })
  const lease = await take(at)
  await at.clock.pass(10_000)
  const released = lease.release(true)
  await settle()
  assert.equal(at.calls.at(-1), "10 renew")
  answer(DONE)
  await released
  await lease.release(true)
  assert.deepEqual(at.calls.slice(-2), ["10 renew", "10 release"])
  assert.deepEqual(at.log, ["the lease was not given back and expires"])
  release = DONE
  const other = await take(at)
  await other.release(false)
  assert.deepEqual(at.calls.slice(-2), ["10 acquire", "10 fence"])
})

test("changes are told to who listens, until it stops", async () => {
  let outcome: Outcome = DONE
  const at = setUp((action) => (action === "renew" ? outcome : DONE))
  const lease = await take(at)
  const states: string[] = []
  const stop = lease.onChange(() => states.push(lease.status.state))
  outcome = BROKEN
  await at.clock.pass(90_000)
  outcome = DONE
  await at.clock.pass(20_000)
  stop()
  outcome = TAKEN
  await at.clock.pass(20_000)
  assert.deepEqual(states, ["late", "expired", "held"])
})

const inherit = ({ clock, program }: At) => Lease.inherit(program, "nbd://store/", { seconds: 60, clock })

test("one that another process had goes on by a renewal, is renewed by both until that has left, and by one after", async () => {
  const at = setUp(() => DONE)
  const old = await take(at)
  await at.clock.pass(5000)
  const lease = await inherit(at)
  assert.equal(codeOf(lease), undefined)
  await at.clock.pass(10_000)
  await old.leave()
  assert.equal(codeOf(old), "ESHUTDOWN")
  await at.clock.pass(15_000)
  assert.deepEqual(at.calls, ["0 acquire", "0 fence", "5 renew", "10 renew", "15 renew", "25 renew"])
  await lease.release(true)
  assert.equal(at.calls.at(-1), "30 release")
  assert.equal(at.clock.idle, true)
})

test("one that another took meanwhile, or that cannot be renewed, is not gone on with, and is not given back", async () => {
  for (const [outcome, code] of [
    [TAKEN, "LEASE_HELD"],
    [BROKEN, "LEASE_FAILED"],
  ] as const) {
    const at = setUp(() => outcome)
    await assert.rejects(inherit(at), { code })
    assert.deepEqual(at.calls, ["0 renew"])
    assert.equal(at.clock.idle, true)
  }
})
