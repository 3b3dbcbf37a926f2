/**
 * A lease program: what takes, keeps and gives back the one right to write to a store that several machines reach.
 *
 *   PROGRAM acquire|fence|renew|release ADDRESS OWNER SECONDS
 *
 * docs/lease.md is its contract. It is run without a shell, in a process group of its own, and killed with it when it
 * takes too long.
 */
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { hostname } from "node:os"
import { isAbsolute } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { installed } from "../base/installation.ts"
import { programEnvironment } from "../base/programs.ts"

export type Action = "acquire" | "fence" | "renew" | "release"

export type Outcome =
  | { readonly kind: "done"; readonly said: string }
  /** Somebody else has it: `owner` as that one named itself, `seconds` until it ends unless renewed. */
  | { readonly kind: "other"; readonly owner: string | null; readonly seconds: number | null }
  | { readonly kind: "failed"; readonly reason: string }

export interface LeaseProgram {
  /** Where the lease is, as the user named it. */
  readonly name: string
  /** Who we are to other machines. */
  readonly owner: string
  /** Never rejects. After `limitMs` it has failed, whatever it may still do. */
  run(action: Action, limitMs: number): Promise<Outcome>
}

/** Exit code of acquire and renew. */
const OTHER = 5
/** Characters of what it says that are kept, of each stream. */
const LONGEST_SPEECH = 16 << 10
const LONGEST_OWNER = 200

/** HOST:PID:RANDOM, of characters that a program can put into any store's names. */
export function newOwner(): string {
  const host = hostname().replaceAll(/[^A-Za-z0-9.-]/g, "-")
  return `${host}:${process.pid}:${randomBytes(8).toString("hex")}`
}

/** "host (process 12)" of an owner that `newOwner` made; others as they are. */
export function describeOwner(owner: string): string {
  const [, host, pid] = /^([A-Za-z0-9.-]+):(\d+):[0-9a-f]{16}$/.exec(owner) ?? []
  return host === undefined ? owner : `${host} (process ${pid})`
}

/** `lease`: KIND:ADDRESS, of a program that is installed with us, or /PATH:ADDRESS. Throws USAGE (exit 1). */
export function leaseProgram(lease: string, owner: string, seconds: number): LeaseProgram {
  const [, kind, address] = /^([^:]+):(.+)$/s.exec(lease) ?? []
  if (kind === undefined || address === undefined) throw unknown(lease)
  const path = isAbsolute(kind) ? kind : shipped(kind)
  return {
    name: lease,
    owner,
    run: (action, limitMs) => run(path, [action, address, owner, String(seconds)], limitMs),
  }
}

function unknown(lease: string): TresorError {
  const example = "ceph:rbd/work, or /usr/local/lib/my-lease:ADDRESS"
  return new TresorError("USAGE", Exit.badArguments, `Cannot use the lease ${lease}: unknown program; use ${example}`)
}

function shipped(kind: string): string {
  if (!/^[a-z][a-z0-9-]*$/.test(kind)) throw unknown(kind)
  try {
    return installed(`lease/${kind}`)
  } catch {
    throw unknown(kind)
  }
}

function run(path: string, args: readonly string[], limitMs: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(path, args, {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      env: programEnvironment(),
    })
    const said = { out: "", err: "" }
    const listen = (stream: NodeJS.ReadableStream, name: keyof typeof said) =>
      stream.setEncoding("utf8").on("data", (text: string) => {
        said[name] = (said[name] + text).slice(-LONGEST_SPEECH)
      })
    listen(child.stdout, "out")
    listen(child.stderr, "err")
    const late = setTimeout(() => {
      // It may hang where no signal reaches it: nobody waits for its end.
      try {
        process.kill(-child.pid!, "SIGKILL")
      } catch {}
      child.stdout.destroy()
      child.stderr.destroy()
      child.unref()
      resolve({ kind: "failed", reason: `${args[0]} did not end within ${limitMs / 1000} s` })
    }, limitMs)
    child.once("error", (error) => {
      clearTimeout(late)
      resolve({ kind: "failed", reason: error.message })
    })
    child.once("close", (code, signal) => {
      clearTimeout(late)
      resolve(outcomeOf(args[0] as Action, code, signal, said))
    })
  })
}

function outcomeOf(
  action: Action,
  code: number | null,
  signal: string | null,
  said: { readonly out: string; readonly err: string },
): Outcome {
  if (code === 0) return { kind: "done", said: said.out.trim() }
  if (code === OTHER && (action === "acquire" || action === "renew")) {
    const value = (key: string) => new RegExp(`^${key}=(.+)$`, "m").exec(said.out)?.[1]?.trim() ?? null
    const seconds = value("seconds")
    return {
      kind: "other",
      owner: value("owner")?.slice(0, LONGEST_OWNER) ?? null,
      seconds: seconds !== null && /^\d{1,9}$/.test(seconds) ? Number(seconds) : null,
    }
  }
  const last = said.err.trim().split("\n").at(-1)
  const end = code === null ? `was killed by ${signal}` : `ended with ${code}`
  return { kind: "failed", reason: last === undefined || last === "" ? `${action} ${end}` : last }
}
