/**
 * A successor that goes wrong at one step, for the tests: arguments are what it does, at which step, and what tresord
 * adds. The rest is the product's own sources.
 *
 *   die STEP    is killed before it sends that message, or once it has received it
 *   cut STEP    closes the channel there and lives on, without serving more
 *   hang STEP   stops there, and never answers
 *   orphan STEP kills the tresord that has started it, once it has sent or received that message
 *   both STEP   as orphan, and is killed with it
 *   retire STEP takes over; as die in the next takeover, in which it is the one that has started another
 *   hasty       takes over; a successor of its own has no more time as soon as SIGUSR2 comes
 *   impatient   takes over; limits of a minute are three seconds
 *
 * STEP is a message, or of ublk's commands: startUserRecovery or endUserRecovery, before it is sent; recovered, once the
 * latter is done.
 */
import { Command } from "../../src/abi/ublk.ts"
import { ublk } from "../../src/native/ublk.ts"
import { TakeoverChannel } from "../../src/tresord/takeover/channel.ts"
import { Limit } from "../../src/tresord/takeover/limit.ts"

const [deed, step] = process.argv.splice(2, 2)

/** `null`: it was killed. By then our parent is another. */
let starter: number | null = process.ppid
/** Gives the volume to another; `retire` does nothing before. */
let gives = false

const isHere = (moment: string) => moment === step && (deed !== "retire" || gives)

function kill(): void {
  if ((deed === "orphan" || deed === "both") && starter !== null) process.kill(starter, "SIGKILL")
  starter = null
  if (deed !== "orphan") process.kill(process.pid, "SIGKILL")
}

function go(channel: TakeoverChannel): Promise<never> {
  if (deed === "hang") process.kill(process.pid, "SIGSTOP")
  else if (deed !== "cut") kill()
  channel.close()
  // Whatever tresord does with it, it is there.
  setInterval(() => {}, 1000)
  return new Promise(() => {})
}

const kindOf = (message: unknown) => (message as { readonly kind: string }).kind

const { send, receive } = TakeoverChannel.prototype
TakeoverChannel.prototype.send = async function (message, fds) {
  if (kindOf(message) === "offer") gives = true
  const here = isHere(kindOf(message))
  if (here && deed !== "orphan") return go(this)
  await send.call(this, message, fds)
  if (here) kill()
}
TakeoverChannel.prototype.receive = async function () {
  const received = await receive.call(this)
  if (received === null || !isHere(kindOf(received.message))) return received
  if (deed !== "orphan") return go(this)
  kill()
  return received
}

if (deed === "hasty") {
  let pending: Limit | null = null
  const { set, clear } = Limit.prototype
  Limit.prototype.set = function (ms) {
    set.call(this, ms)
    pending = this
  }
  Limit.prototype.clear = function () {
    clear.call(this)
    pending = null
  }
  process.on("SIGUSR2", () => {
    if (pending === null) process.abort()
    set.call(pending, 0)
  })
}

if (deed === "impatient") {
  const { setTimeout } = globalThis
  globalThis.setTimeout = Object.assign(
    (run: () => void, ms?: number) => setTimeout(run, ms === 60_000 ? 3000 : ms),
    setTimeout,
  )
}

const { ublkControl } = ublk
ublk.ublkControl = async (operation, ...rest) => {
  if (operation === Command.startUserRecovery && isHere("startUserRecovery")) kill()
  if (operation === Command.endUserRecovery && isHere("endUserRecovery")) kill()
  const payload = await ublkControl(operation, ...rest)
  if (operation === Command.endUserRecovery && isHere("recovered")) kill()
  return payload
}

await import("../../src/tresord/main.ts")
