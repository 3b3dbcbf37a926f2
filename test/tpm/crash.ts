/** A change of the machine secret in a process that ends without a word at one step: crash.ts CHANGE DIRECTORY STEP SECRET. */
import { enroll, recover, reseal, type Step, unenroll } from "../../src/library/machine.ts"

const [change, directory = "", step, secret = ""] = process.argv.slice(2)
const at = (reached: Step) => {
  if (reached === step) process.kill(process.pid, "SIGKILL")
}
const to = { pcrs: [7], pin: null }
const deliver = (_: Uint8Array, work: (now: () => Promise<void>) => Promise<void>) => work(async () => {})
switch (change) {
  case "enroll":
    await enroll(directory, to, deliver, at)
    break
  case "reseal":
    await reseal(directory, null, to, at)
    break
  case "recover":
    await recover(directory, Buffer.from(secret, "hex"), to, at)
    break
  default:
    await unenroll(directory, null, at)
}
