/**
 * A successor that goes wrong at one step, for the tests: arguments are what it does, at which message, and what tresord
 * adds. The rest is the product's own sources.
 *
 *   die STEP    is killed before it sends that message, or once it has received it
 *   cut STEP    closes the channel there and lives on, without serving more
 *   orphan STEP kills the tresord that has started it, once it has sent or received that message
 */
import { TakeoverChannel } from "../../src/tresord/takeover/channel.ts"

const [deed, step] = process.argv.splice(2, 2)

function go(channel: TakeoverChannel): Promise<never> {
  if (deed === "die") process.kill(process.pid, "SIGKILL")
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

await import("../../src/tresord/main.ts")
