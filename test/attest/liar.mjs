// What `setkey --remote` runs instead of ssh: the real bridge, and between the two a liar.
//   liar.mjs HOST COMMAND, with LIE (which of the lies below) and TAP (a file for what the asker sends)
import { spawn } from "node:child_process"
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs"

const [, , , command] = process.argv
const { LIE, TAP } = process.env
const bridge = spawn("sh", ["-c", command], { stdio: ["pipe", "pipe", "inherit"] })
const asked = []
const OLD = `${TAP}.report`

const other = Buffer.alloc(32, 9).toString("base64")
const twisted = (base64, at) => {
  const bytes = Buffer.from(base64, "base64")
  bytes[at] ^= 1
  return bytes.toString("base64")
}
/** Retitles, clears, writes over our line, and shows the rest backwards; C0 and C1. */
const HOSTILE = "/dev/sda\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202efdp.exe\u2066\x7f\ntresor: all is well"
/** Parameters of a challenge: u32 MACs, struct tresor_segment (40), struct tresor_digest (144), then keyslots of 176 bytes. */
const header = (reply, change) => {
  const bytes = Buffer.from(reply.parameters, "base64")
  const keyslots = []
  for (let at = 188; at < bytes.length; at += 176) keyslots.push(bytes.subarray(at, at + 176))
  reply.parameters = (change(bytes, keyslots) ?? bytes).toString("base64")
}
/** Whether a reply to it tells of the volume and its enclave before anything is sealed. */
const shows = (method) => method === "Status" || method === "Report"
/** Wherever such a reply says who the enclave is. */
const identities = (reply) => [reply.volume.enclave, ...("enclave" in reply ? [reply.enclave] : [])]
/** By lie: what becomes of a reply to a method. */
const lies = {
  none: () => undefined,
  "another key": (method, reply) => {
    if (shows(method)) for (const each of identities(reply)) each.publicKey = other
  },
  "another key from the challenge on": (method, reply) => {
    if (method === "Challenge") reply.enclave.publicKey = other
  },
  "another key everywhere": (method, reply) => {
    if (shows(method)) for (const each of identities(reply)) each.publicKey = other
    if (method === "Challenge") reply.enclave.publicKey = other
  },
  "another measurement": (method, reply) => {
    if (shows(method)) for (const each of identities(reply)) each.mrenclave = "00".repeat(32)
  },
  "another signer": (method, reply) => {
    if (shows(method)) for (const each of identities(reply)) each.mrsigner = "00".repeat(32)
  },
  "a higher version": (method, reply) => {
    if (shows(method)) for (const each of identities(reply)) each.isvSvn += 1
  },
  "no debugging": (method, reply) => {
    if (shows(method)) for (const each of identities(reply)) each.debug = false
  },
  "the hardware": (method, reply) => {
    if (shows(method)) for (const each of identities(reply)) each.backend = "sgx"
  },
  "a changed report": (method, reply) => {
    if (method === "Report") reply.report = twisted(reply.report, 64)
  },
  "a report with a changed binding": (method, reply) => {
    if (method === "Report") reply.report = twisted(reply.report, 320)
  },
  "a report of another time": (method, reply) => {
    if (method !== "Report") return
    if (existsSync(OLD)) reply.report = readFileSync(OLD, "utf8")
    else writeFileSync(OLD, reply.report)
  },
  "a contact of another time": (method, reply, whole) => {
    if (method !== "Report") return
    if (existsSync(OLD)) whole.parameters = JSON.parse(readFileSync(OLD, "utf8"))
    else writeFileSync(OLD, JSON.stringify(reply))
  },
  "half a report": (method, reply) => {
    if (method === "Report") reply.report = reply.report.slice(0, 40)
  },
  "escapes in the path": (method, reply) => {
    if (shows(method)) reply.volume.path = HOSTILE
  },
  "escapes in an error": (method, _, whole) => {
    if (method !== "Challenge") return
    whole.error = "io.tresor.Volume.Refused"
    whole.parameters = { code: HOSTILE, exitCode: 4, message: HOSTILE }
  },
  "keyslots of its own": (method, reply) => {
    if (method !== "Challenge") return
    // Not sealed, PBKDF2 with one iteration: a guess costs nothing.
    header(reply, (_, keyslots) => {
      for (const each of keyslots) {
        each.fill(0, 52, 56)
        each.fill(0, 88, 112)
        each.writeUInt32LE(1, 16)
      }
    })
  },
  "a cheap KDF": (method, reply) => {
    if (method !== "Challenge") return
    header(reply, (_, keyslots) => {
      for (const each of keyslots) each.writeUInt32LE(1, 88 + 8)
    })
  },
  "another segment": (method, reply) => {
    if (method === "Challenge") header(reply, (bytes) => void bytes.writeBigUInt64LE(8n, 36))
  },
  "another digest": (method, reply) => {
    if (method === "Challenge") header(reply, (bytes) => void bytes.writeUInt32LE(1, 48))
  },
  "no MACs": (method, reply) => {
    if (method === "Challenge") header(reply, (bytes) => void bytes.writeUInt32LE(0, 0))
  },
  "half a header": (method, reply) => {
    if (method === "Challenge") header(reply, (bytes) => bytes.subarray(0, 100))
  },
  "another cipher": (method, reply) => {
    if (method === "Challenge") header(reply, (bytes) => void bytes.writeUInt32LE(2, 4))
  },
  "the flow of 2016": (method, reply) => {
    if (shows(method)) reply.volume.cipher = "legacy"
  },
  silence: (method) => {
    if (method === "Challenge") process.exit(0)
  },
}
const lie = lies[LIE]
if (lie === undefined) throw new Error(`no lie ${LIE}`)

/** Calls `each` with every message, which ends with NUL. */
function frames(stream, each) {
  let rest = Buffer.alloc(0)
  stream.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk])
    for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
      each(JSON.parse(rest.subarray(0, end).toString()))
      rest = rest.subarray(end + 1)
    }
  })
}

process.stdin.on("data", (chunk) => {
  appendFileSync(TAP, chunk)
  bridge.stdin.write(chunk)
})
process.stdin.on("end", () => bridge.stdin.end())
frames(process.stdin, ({ method }) => asked.push(method.split(".").at(-1)))
frames(bridge.stdout, (reply) => {
  if (reply.error === undefined) lie(asked.shift(), reply.parameters, reply)
  else asked.shift()
  process.stdout.write(`${JSON.stringify(reply)}\0`)
})
bridge.on("close", () => process.exit(0))
