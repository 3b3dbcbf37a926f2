/** The table of a connection's moves, and that the conversation follows it. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { finished, MOVES, moved, type State, saidGoodbye, takesRequests } from "./connection-state.ts"

const STATES = Object.keys(MOVES) as State[]

test("a move that is not in the table throws; every other is made", () => {
  for (const from of STATES) {
    for (const to of STATES) {
      if (MOVES[from].includes(to)) assert.equal(moved(from, to), to)
      else assert.throws(() => moved(from, to), { message: `a connection does not go from ${from} to ${to}` })
    }
  }
})

test("every state is reached from the first, and none twice", () => {
  const seen: State[] = []
  const visit = (state: State, before: readonly State[]) => {
    assert.ok(!before.includes(state), `${state} comes again after ${before.join(", ")}`)
    if (!seen.includes(state)) seen.push(state)
    for (const next of MOVES[state]) visit(next, [...before, state])
  }
  visit("greeting", [])
  assert.deepEqual(seen.toSorted(), STATES.toSorted())
})

test("from every state there is an end, which takes no requests and keeps what the goodbye promised", () => {
  for (const state of STATES) {
    const last = finished(state)
    assert.deepEqual(MOVES[last], [])
    assert.equal(finished(last), last)
    assert.equal(takesRequests(last), false)
    assert.equal(saidGoodbye(last), saidGoodbye(state))
  }
})
