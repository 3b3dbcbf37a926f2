import assert from "node:assert/strict"
import { test } from "node:test"
import { TresorError } from "../../base/errors.ts"
import { buildProgram } from "../program.ts"
import { flagsOf } from "../tresor-command.ts"
import type { Fate } from "./fate.ts"
import { OPTIONS } from "./options.ts"
import { translate } from "./translate.ts"
import { ALIASES, VERBS } from "./verbs.ts"

const program = await buildProgram("", [])
const flags = (command: string) => flagsOf(program, command)
const ours = (line: string) => translate(line.split(" "), flags).join(" ")

for (const [theirs, expected] of [
  ["luksFormat disk.img", "create disk.img"],
  ["luksFormat disk.img key", "create --key-file=key disk.img"],
  ["luksFormat -d first disk.img second", "create --key-file=first disk.img"],
  ["-q luksFormat --type luks2 disk.img -", "create --batch-mode --key-file=- disk.img"],
  [
    "-qv luksFormat -c aes-xts-plain64 -s 256 -h sha256 disk.img",
    "create --batch-mode --verbose --key-size=256 disk.img",
  ],
  ["luksFormat disk.img --size 1G --no-recovery", "create --size=1G --no-recovery disk.img"],
  [
    "luksFormat --use-random --disable-keyring -i 100 -y disk.img",
    "create --iter-time=100 --verify-passphrase disk.img",
  ],
  ["luksOpen disk.img work", "open disk.img work"],
  ["luksOpen disk.img work -dkey -r", "open --key-file=key --readonly disk.img work"],
  ["luksOpen -rd key disk.img work --block", "open --readonly --key-file=key --block disk.img work"],
  ["--type luks2 open disk.img work", "open disk.img work"],
  ["-v open disk.img work", "open -v disk.img work"],
  ["open --disable-external-tokens disk.img work -t 5", "open -t 5 disk.img work"],
  ["open --test-passphrase -q disk.img", "open --test-passphrase disk.img"],
  ["luksClose work", "close work"],
  ["remove work --deferred", "close --deferred work"],
  ["close work --header file", "close work"],
  ["luksSuspend work", "lock work"],
  ["luksResume work -T 1 -y", "setkey --tries=1 --verify-passphrase work"],
  ["luksAddKey disk.img", "key add disk.img"],
  ["luksAddKey -d old disk.img new", "key add --key-file=old --new-key-file=new disk.img"],
  ["luksAddKey disk.img -S 3", "key add --new-key-slot=3 disk.img"],
  ["luksAddKey disk.img -S 3 --new-key-slot 4", "key add --key-slot=3 --new-key-slot=4 disk.img"],
  ["luksAddKey disk.img --new-keyfile new --portable", "key add --new-key-file=new --portable disk.img"],
  ["key add disk.img --new-keyfile new", "key add --new-key-file=new disk.img"],
  ["key add disk.img -S 3 --type luks2", "key add -S 3 disk.img"],
  ["create disk.img --type luks2 --size 1G", "create --size=1G disk.img"],
  ["luksRemoveKey disk.img key", "key remove --key-file=key disk.img"],
  ["luksChangeKey disk.img new -d old", "key change --key-file=old --new-key-file=new disk.img"],
  ["luksKillSlot disk.img 3 -d key", "key remove --key-file=key --key-slot=3 disk.img"],
  ["luksUUID disk.img", "uuid disk.img"],
  ["luksUUID --uuid 1234 disk.img", "uuid disk.img 1234"],
  ["luksDump disk.img --dump-json-metadata", "dump --dump-json-metadata disk.img"],
  ["isLuks disk.img -v -q", "isLuks -v disk.img"],
  ["luksHeaderBackup disk.img --header-backup-file file", "header backup disk.img file"],
  ["luksHeaderRestore --header-backup-file=file disk.img -q", "header restore --batch-mode disk.img file"],
  ["luksErase -q disk.img", "wipe --batch-mode disk.img"],
  [
    "reencrypt disk.img --resume-only --hotzone-size 16M --force-offline-reencrypt -d key",
    "reencrypt --resume --hotzone-size=16M -d key disk.img",
  ],
  [
    "reencrypt --encrypt disk.img --reduce-device-size 32M --type luks2",
    "reencrypt --encrypt --reduce-device-size=32M disk.img",
  ],
  ["reencrypt -N disk.img --header head", "reencrypt --encrypt --header=head disk.img"],
  [
    "reencrypt --decrypt --header head disk.img --force-offline-reencrypt",
    "reencrypt --decrypt --header=head disk.img",
  ],
  ["repair disk.img", "check --repair disk.img"],
  ["token --token-id 3 export disk.img", "token export --token-id=3 disk.img"],
  ["token add --unbound --key-description a disk.img -q", "token add --unbound --key-description=a disk.img"],
  ["config disk.img --priority prefer -S 1 -q", "config --priority=prefer -S 1 disk.img"],
  ["luksDump -- -odd", "dump -- -odd"],
  ["luksDump disk.img --help", "dump --help disk.img"],
] as const) {
  test(`${theirs}: ${expected}`, () => assert.equal(ours(theirs), expected))
}

for (const line of [
  "open disk.img work --key-file=key -r",
  "create disk.img --size 1G --label -q",
  "key rm disk.img",
  "status work --json",
  "luksOops disk.img",
  "-V",
  "--help",
  "help open",
  "doctor --json",
  "open --nonsense disk.img work --type luks2",
  "setkey work --remote-tresor luksOpen",
  "",
]) {
  test(`${JSON.stringify(line)} stays as it is`, () => {
    const words = line.split(" ")
    assert.equal(translate(words, flags), words)
  })
}

for (const [line, reason] of [
  ["luksFormat --type luks1 disk.img", /^Cannot use --type luks1 as cryptsetup does: .*LUKS2 only/],
  ["open --type plain disk.img work", /use cryptsetup/],
  ["luksFormat -c aes-cbc-essiv:sha256 disk.img", /^Cannot use -c aes-cbc-essiv:sha256 .*leave it out/],
  ["luksFormat --integrity hmac-sha256 disk.img", /no authenticated encryption of sectors/],
  ["luksFormat --volume-key-file key disk.img", /never leaves the enclave/],
  ["luksDump --dump-volume-key disk.img", /never leaves the enclave/],
  ["create --integrity x disk.img", /no authenticated encryption of sectors/],
  ["luksChangeKey -S 1 disk.img", /keyslot of another number/],
  ["resize work --size 2048", /`tresor resize`/],
  ["tcryptOpen disk.img work", /^Cannot tcryptOpen: .*use cryptsetup/],
  ["convert disk.img --type luks2", /^Cannot convert: .*tresor adopt/],
  ["--debug luksDump disk.img", /TRESOR_DEBUG=1/],
] as const) {
  test(`${line} is refused with the reason and exit code 1`, () => {
    assert.throws(
      () => ours(line),
      (error) =>
        error instanceof TresorError &&
        error.code === "CRYPTSETUP_ONLY" &&
        error.exitCode === 1 &&
        reason.test(error.message),
    )
  })
}

test("what is missing is said before anything is done", () => {
  assert.throws(() => ours("luksKillSlot disk.img"), {
    code: "USAGE",
    message: /luksKillSlot needs 2 arguments, 1 given/,
  })
  assert.throws(() => ours("luksOpen disk.img work -d"), { code: "USAGE", message: /option -d needs a value/ })
})

test("an option that a verb has by cryptsetup's man page is one of the command's, kept, an operand, or refused", () => {
  let seen = 0
  for (const [verb, found] of Object.entries(VERBS)) {
    if ("refused" in found) continue
    const own = flags(found.to)
    assert.ok(own !== null, `${verb}: no command ${found.to}`)
    for (const option of found.preset ?? []) assert.ok(own.has(option), `${verb} ${option}`)
    for (const place of found.operands) {
      if (place.startsWith("--")) assert.equal(own.get(place.replace("?", "")), true, `${verb} ${place}`)
    }
    for (const name of found.takes) {
      assert.ok(Object.hasOwn(OPTIONS, name), `${verb} --${name}`)
      const fate: Fate = found.except?.[name] ?? OPTIONS[name]!.fate
      if (!("as" in fate)) continue
      seen++
      const valued = OPTIONS[name]!.value !== undefined
      for (const each of [fate.as, ...(fate.beside === undefined ? [] : [fate.beside.as])]) {
        assert.equal(own.get(`--${each}`), valued, `${verb} --${name}: ${found.to} --${each}`)
      }
    }
    for (const name of Object.keys(found.except ?? {})) assert.ok(Object.hasOwn(OPTIONS, name), `${verb} --${name}`)
  }
  assert.ok(seen > 80, String(seen))
  for (const [alias, verb] of Object.entries(ALIASES)) assert.ok(Object.hasOwn(VERBS, verb), alias)
})

test("no verb of cryptsetup hides a command of ours", () => {
  const names = program.commands.map((each) => each.name())
  for (const verb of [...Object.keys(VERBS), ...Object.keys(ALIASES)]) {
    const first = verb.split(" ")[0]!
    const found = VERBS[verb]
    if (names.includes(first)) assert.ok(found !== undefined && "to" in found && found.to === verb, verb)
  }
})
