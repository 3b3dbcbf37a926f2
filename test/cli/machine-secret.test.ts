/** One machine, root and a user: whose machine secret a volume is sealed with, and who opens it. As root. */
import assert from "node:assert/strict"
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, type Result, run } from "./harness.ts"
import { copyInstallation } from "./installation.ts"

const place = new Place()
const UID = 4242
const home = place.path("home")
/** Over /var/lib, in a mount namespace of each command: the tests leave this machine's alone. */
const varLib = place.path("var-lib")
// A copy as it would be installed: the repository may lie where this user cannot go.
const installed = place.path("installed")
const bin = place.path("bin")
const KDF = ["--no-recovery", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
const env = {
  TRESOR_STATE_DIR: "",
  XDG_STATE_HOME: "",
  XDG_CONFIG_HOME: "",
  TRESOR_RUNTIME_DIR: "",
  HOME: home,
  PATH: `${bin}:${process.env["PATH"]}`,
}

before(() => {
  chmodSync(place.folder, 0o711)
  for (const each of [bin, home, join(home, "run"), join(varLib, "tresor")]) mkdirSync(each, { recursive: true })
  writeFileSync(
    join(bin, "getent"),
    `#!/bin/sh\ncase $2 in 0) echo root:x:0:0::/root:/bin/sh;; ${UID}) echo "u:x:${UID}:${UID}::${home}:/bin/sh";; esac\n`,
    { mode: 0o755 },
  )
  copyInstallation(installed)
  writeFileSync(join(home, "key"), "correct horse")
  for (const each of ["", "key", "run"]) chownSync(join(home, each), UID, UID)
  chmodSync(join(home, "run"), 0o700)
})

/** In a namespace in which this machine's state is the test's. */
function as(who: "root" | "u", words: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Result> {
  const user = who === "u" ? ["setpriv", `--reuid=${UID}`, `--regid=${UID}`, "--clear-groups"] : []
  const script = 'mount --bind "$0" /var/lib && exec "$@"'
  const runtime = who === "u" ? join(home, "run") : place.runtime
  return run("unshare", ["--mount", "sh", "-c", script, varLib, ...user, join(installed, "tresor"), ...words], {
    env: { ...env, TRESOR_RUNTIME_DIR: runtime, XDG_CONFIG_HOME: place.path(`config-${who}`), ...more },
    cwd: home,
  })
}

async function opens(who: "root" | "u", path: string, more: NodeJS.ProcessEnv = {}): Promise<Result> {
  const opened = await as(who, ["open", path, "work", "--key-file", "key"], more)
  if (opened.code === 0) assert.equal((await as(who, ["close", "work"], more)).code, 0)
  return opened
}

test("what a user made, root opens with that user's secret, with sudo or without, and says so; status too", async () => {
  mkdirSync(place.path("config-u"))
  chownSync(place.path("config-u"), UID, UID)
  const made = await as("u", ["create", "disk.img", "--size", "32M", "--key-file", "key", ...KDF])
  assert.equal(made.code, 0, made.stderr)
  assert.equal((await opens("u", "disk.img")).code, 0)
  const opened = await as("root", ["open", "disk.img", "work", "--key-file", "key"])
  assert.equal(opened.code, 0, opened.stderr)
  assert.match(opened.stderr, /^tresor: disk\.img belongs to u: using that user's machine secret, in .*home/)
  const { stdout } = await as("root", ["status", "work", "--json"])
  assert.match(JSON.parse(stdout).machineSecret, /^.*home\/\.local\/state\/tresor\/machine-secret.*, of u: /)
  // In-process enclaves too.
  writeFileSync(join(home, "fresh"), "another passphrase")
  await as("root", ["close", "work"])
  const added = await as("root", [
    "key",
    "add",
    "disk.img",
    "--key-file",
    "key",
    "--new-key-file",
    "fresh",
    ...KDF.slice(1),
  ])
  assert.equal(added.code, 0, added.stderr)
  assert.equal((await opens("u", "disk.img")).code, 0)
  assert.ok(existsSync(join(varLib, "tresor/enclaves")), "root keeps images where only root writes")
  assert.ok(!existsSync(join(varLib, "tresor/machine-secret")), "and has needed no secret of its own")
})

test("what root sealed with the machine's secret: others are told whose it is, where, and the way out", async () => {
  const made = await as("root", ["create", "roots.img", "--size", "32M", "--key-file", "key", ...KDF])
  assert.equal(made.code, 0, made.stderr)
  assert.equal((await opens("root", "roots.img")).code, 0)
  const secret = join(varLib, "tresor/machine-secret")
  assert.equal(readFileSync(secret).length, 32)
  // Given to the user: the file is, the secret is not.
  chownSync(join(home, "roots.img"), UID, UID)
  const inUse = ", and the one in use is [0-9a-f]{16} in .*home/.local/state/tresor/machine-secret; "
  const whose = (where: string) =>
    new RegExp(`Cannot unseal keyslot 0: it was sealed with the machine secret [0-9a-f]{16} of root${where}${inUse}`)
  const theirs = await opens("u", "roots.img")
  assert.equal(theirs.code, 2)
  assert.match(theirs.stderr, whose(", which only root may read"))
  assert.match(
    theirs.stderr,
    /; open it as root, with TRESOR_STATE_DIR=\/var\/lib\/tresor; else the recovery key opens the volume: tresor recover .*\n$/,
  )
  const ours = await opens("root", "roots.img")
  assert.equal(ours.code, 2)
  assert.match(ours.stderr, whose(" \\(/var/lib/tresor/machine-secret\\)"))
  assert.match(ours.stderr, /; use TRESOR_STATE_DIR=\/var\/lib\/tresor; else the recovery key/)
  assert.equal((await opens("root", "roots.img", { TRESOR_STATE_DIR: "/var/lib/tresor" })).code, 0)
})
