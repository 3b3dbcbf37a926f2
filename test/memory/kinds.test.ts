/** The words of `status` and `doctor` follow the memory a tresord really has, as the limit of locked memory shrinks. Needs root. */
import assert from "node:assert/strict"
import { before, test } from "node:test"
import { Place, type Result, run, tresorPath } from "../cli/harness.ts"

const place = new Place()
let path = ""
let keyFile = ""

interface Status {
  readonly enclave: { readonly memory: { readonly keys: string; readonly stacks: string; readonly heap: string } }
  readonly protected: readonly string[]
  readonly exposed: readonly string[]
}

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img", "correct horse"))
})

/** Without the capabilities that lift the limit. */
function limited(memlock: number, args: readonly string[]): Promise<Result> {
  const limit = `--memlock=${memlock}:${memlock}`
  const command = ["--bounding-set=-sys_resource,-ipc_lock", "prlimit", limit, tresorPath, ...args]
  return run("setpriv", command, { env: place.env })
}

const kindsSeen = new Set<string>()

for (const memlock of [0, 65536, 1 << 20, 4 << 20, 8 << 20]) {
  test(`with ${memlock} bytes of locked memory nothing is promised beyond what there is`, async () => {
    const opened = await limited(memlock, ["open", path, "work", "--key-file", keyFile])
    assert.equal(opened.code, 0, opened.stderr)
    try {
      const shown = await place.tresor(["status", "work"])
      const status: Status = JSON.parse((await place.tresor(["status", "work", "--json"])).stdout)
      const kinds = Object.values(status.enclave.memory)
      kindsSeen.add(kinds.join(" "))
      // What cannot be locked is not: 64 MiB of heap in at most 8.
      assert.equal(status.enclave.memory.heap, "plain")
      const promised = status.protected.join("\n")
      assert.doesNotMatch(promised, /swap|reads/)
      assert.ok(status.exposed.some((line) => /the heap .* from swap .*ordinary memory/.test(line)))
      assert.match(shown.stdout, /^heap in: +ordinary memory: /m)
      const keys = status.enclave.memory.keys === "memfd_secret" ? "memfd_secret" : "ordinary memory"
      assert.match(shown.stdout, new RegExp(`^keys in: +${keys}`, "m"))
      const doctor = await limited(memlock, ["doctor"])
      assert.match(doctor.stdout, /memory of the heap: plain/)
      assert.doesNotMatch(doctor.stdout, /protected: passphrases and keys, from [^;]*(swap|reads)/)
      assert.match(doctor.stdout, /the heap [^;]*[^\n]* from swap/)
    } finally {
      await place.tresor(["close", "work"])
    }
  })
}

test("the limits made a difference: keys in ordinary memory, and keys in memfd_secret with a plain heap", () => {
  assert.ok(kindsSeen.has("plain plain plain"), [...kindsSeen].join())
  assert.ok(kindsSeen.has("memfd_secret memfd_secret plain"), [...kindsSeen].join())
})
