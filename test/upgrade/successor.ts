/**
 * A successor that goes wrong at one step, for the tests: arguments are what it does, at which message, and what tresord
 * adds. The rest is the product's own sources.
 *
 *   die STEP    is killed before it sends that message, or once it has received it
 *   cut STEP    closes the channel there and lives on, without serving more
 *   hang STEP   stops there, and never answers
 *   orphan STEP kills the tresord that has started it, once it has sent or received that message
 *   hasty       takes over; a successor of its own has no more time as soon as SIGUSR2 comes
 *
 * STEP is a message, or endUserRecovery: that command of ublk.
 */
import { Command } from "../../src/abi/ublk.ts"
import { ublk } from "../../src/native/ublk.ts"
import { TakeoverChannel } from "../../src/tresord/takeover/channel.ts"
import { Limit } from "../../src/tresord/takeover/limit.ts"

const [deed, step] = process.argv.splice(2, 2)

function go(channel: TakeoverChannel): Promise<never> {
  if (deed === "die") process.kill(process.pid, "SIGKILL")
  if (deed === "hang") process.kill(process.pid, "SIGSTOP")
  channel.close()
  // Whatever tresord does with it, it is there.
  setInterval(() => {}, 1000)
  return new Promise(() => {})
}

const kindOf = (message: unknown) => (message as { readonly kind: string }).kind

const { send, receive } = TakeoverChannel.prototype
TakeoverChannel.prototype.send = async function (message, fds) {
  if (kindOf(message) === step && deed !== "orphan") return go(this)
  await send.call(this, message, fds)
  if (kindOf(message) === step) process.kill(process.ppid, "SIGKILL")
}
TakeoverChannel.prototype.receive = async function () {
  const received = await receive.call(this)
  if (received === null || kindOf(received.message) !== step) return received
  if (deed !== "orphan") return go(this)
  process.kill(process.ppid, "SIGKILL")
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

const { ublkControl } = ublk
ublk.ublkControl = (operation, ...rest) => {
  if (operation === Command.endUserRecovery && step === "endUserRecovery") process.kill(process.pid, "SIGKILL")
  return ublkControl(operation, ...rest)
}

await import("../../src/tresord/main.ts")
