/** How often an open and a setkey ask their tresord: three times, each of which crosses to another process or machine. */
import assert from "node:assert/strict"
import { before, test } from "node:test"
import { openVolume } from "../../src/cli/commands/open.ts"
import { setkey } from "../../src/cli/commands/setkey.ts"
import { ControlClient } from "../../src/control/client.ts"
import { Place } from "../cli/harness.ts"

const place = new Place()
const THREE = ["Report", "Challenge", "Unlock"]
const asked: string[] = []
let path = ""
let keyFile = ""

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img"))
  Object.assign(process.env, place.env)
  const { call } = ControlClient.prototype
  ControlClient.prototype.call = function (this: ControlClient, method, parameters) {
    asked.push(method.split(".").at(-1)!)
    return call.call(this, method, parameters)
  }
})

test("open asks three times, setkey too", async () => {
  const secret = { keyFile, tries: 1 }
  const { state } = await openVolume(path, "work", { ...secret, backend: "software" })
  assert.equal(state, "unlocked")
  assert.deepEqual(asked.splice(0), THREE)
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  await setkey("work", { ...secret, rsh: "ssh", remoteTresor: "tresor" })
  assert.deepEqual(asked.splice(0), THREE)
})
