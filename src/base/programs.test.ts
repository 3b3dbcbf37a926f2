import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import {
  chmodSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { fileURLToPath } from "node:url"
import { searchPath } from "./programs.ts"

const folder = realpathSync(mkdtempSync(join(tmpdir(), "tresor-programs-")))
after(() => rmSync(folder, { recursive: true }))

const SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"

test("programs are looked up in absolute directories only", () => {
  assert.equal(searchPath("/a:/b", false), `/a:/b:${SYSTEM}`)
  for (const path of ["", ":", ".", "bin:../bin", "::"]) assert.equal(searchPath(path, false), SYSTEM, path)
  assert.equal(searchPath(":/a::.:/b:", false), `/a:/b:${SYSTEM}`)
})

test("root looks up no program where another user could put one, and follows no link that may change", () => {
  const own = join(folder, "own")
  const open = join(folder, "open")
  const inside = join(open, "inside")
  const link = join(folder, "link")
  for (const each of [own, open, inside]) mkdirSync(each, { mode: 0o755 })
  chmodSync(open, 0o777)
  symlinkSync(own, link)
  const path = [own, open, inside, link, join(folder, "missing")].join(":")
  assert.equal(searchPath(path, true), `${own}:${own}:${SYSTEM}`)
  assert.equal(searchPath(path, false), `${path}:${SYSTEM}`)
})

test("without a PATH, a program in the current directory is not run", () => {
  const place = join(folder, "place")
  mkdirSync(place)
  // Of the system's, and nobody's.
  for (const name of ["stat", "tresor-nobodys"])
    writeFileSync(join(place, name), "#!/bin/sh\necho ours\n", { mode: 0o755 })
  // In a process of its own: the directory of this one is the test runner's too.
  const tried = `
    import { has, tryRun } from ${JSON.stringify(new URL("programs.ts", import.meta.url).href)}
    const found = []
    for (const given of [undefined, "", "."]) {
      if (given === undefined) delete process.env["PATH"]
      else process.env["PATH"] = given
      found.push((await tryRun("stat", ["/"])).stdout.includes("ours"), has("tresor-nobodys"))
    }
    console.log(JSON.stringify(found))`
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", tried], {
    cwd: place,
    encoding: "utf8",
  })
  assert.deepEqual(JSON.parse(stdout || "null"), Array(6).fill(false), stderr)
})

/** Those whose programs have absolute paths, or which give PATH a value of their own. */
const OTHERWISE = ["control/daemon-process.ts", "store/blkid.ts"]

test("every file that starts programs gives them this PATH", () => {
  const src = fileURLToPath(new URL("..", import.meta.url))
  const bare = globSync("**/*.ts", { cwd: src })
    .filter((file) => !/\.test\.ts$|^testing\//.test(file))
    .filter((file) => /^import \{.*\} from "node:child_process"/m.test(readFileSync(join(src, file), "utf8")))
    .filter((file) => !/searchPath\(|programEnvironment\(\)/.test(readFileSync(join(src, file), "utf8")))
  assert.deepEqual(bare.toSorted(), OTHERWISE)
})
