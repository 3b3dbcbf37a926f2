/**
 * Options of a tresord. `tresor open` checks its command line by this
 * schema and sends the object down the lifeline; tresord checks it again, and
 * turns its own command line (systemd's) into the same object.
 */
import { parseArgs } from "node:util"
import * as v from "valibot"
import { BACKENDS } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import {
  LEAST_LEASE_SECONDS,
  LEAST_STORE_SECONDS,
  MOST_GRACE_SECONDS,
  MOST_IO_THREADS,
  MOST_LEASE_SECONDS,
  MOST_STORE_SECONDS,
  MOST_TRANSITION_CYCLES,
} from "./option-limits.ts"

const number = (most: number, what: string, least = 0) => {
  const range = least === 0 ? `up to ${most}` : `from ${least} to ${most}`
  const told = ({ input }: { readonly input: unknown }) => `${input} is not a number of ${what} ${range}`
  return v.pipe(v.number(told), v.integer(told), v.minValue(least, told), v.maxValue(most, told))
}

export const backendEntry = v.optional(
  v.picklist(["auto", ...BACKENDS], ({ input }) => `unknown backend ${input}; use auto, sgx or software`),
  "auto",
)

/** Names are those of the command line, in camel case. */
export const daemonOptionsSchema = v.object({
  path: v.string(),
  name: v.string(),
  backend: backendEntry,
  readonly: v.optional(v.boolean(), false),
  allowDiscards: v.optional(v.boolean(), false),
  /** O_DIRECT. */
  direct: v.optional(v.boolean(), false),
  /** NBD: threads that move and decrypt data beside the event loop; `null`: by the number of CPUs. */
  ioThreads: v.optional(v.nullable(number(MOST_IO_THREADS, "threads")), null),
  /** A block device by ublk instead of NBD. */
  block: v.optional(v.boolean(), false),
  /** A dm-crypt mapping through tresor.ko instead of NBD. */
  kernel: v.optional(v.boolean(), false),
  /** A disk of virtual machines instead of NBD. */
  vhostUser: v.optional(v.boolean(), false),
  /** NBD and vhost-user: path of the socket, elsewhere than in the runtime directory. */
  socket: v.optional(v.nullable(v.string()), null),
  /** Group of that socket; `null`: as the system makes it. */
  socketGroup: v.optional(v.nullable(v.string()), null),
  /** Whoever may connect reads and writes the volume: not everybody. */
  socketMode: v.optional(
    v.picklist(["0600", "0660"], ({ input }) => `${input} is not a mode for the socket; use 0600 or 0660`),
    "0600",
  ),
  /** Path of a detached header. */
  header: v.optional(v.nullable(v.string()), null),
  /** Seconds I/O waits while locked; `null`: for ever. */
  grace: v.optional(v.nullable(number(MOST_GRACE_SECONDS, "seconds")), null),
  /** KIND:ADDRESS or /PROGRAM:ADDRESS, of an NBD export that other machines reach; `null`: none do. */
  lease: v.optional(v.nullable(v.string()), null),
  /** Seconds until another machine may take the lease when it is not renewed. */
  leaseDuration: v.optional(number(MOST_LEASE_SECONDS, "seconds", LEAST_LEASE_SECONDS), 60),
  /** Seconds requests wait for an NBD server, or for a lease that is late. */
  storeTimeout: v.optional(number(MOST_STORE_SECONDS, "seconds", LEAST_STORE_SECONDS), 60),
  /** Burnt per entry and exit to model SGX; software backend only. */
  transitionCycles: v.optional(number(MOST_TRANSITION_CYCLES, "cycles"), 0),
})

export type DaemonOptions = Readonly<v.InferOutput<typeof daemonOptionsSchema>>
/** What may be left out is left out. */
export type AskedOptions = Readonly<v.InferInput<typeof daemonOptionsSchema>>

/** How the plaintext is reached. */
export const EXPORTS = ["nbd", "block", "vhost-user", "kernel"] as const
export type Export = (typeof EXPORTS)[number]

type ExportOptions = Pick<AskedOptions, "path" | "block" | "kernel" | "vhostUser">

/** The one that is asked for, NBD by default. Throws USAGE (exit 1) for two. */
export function exportOf({ path, block, kernel, vhostUser }: ExportOptions): Export {
  const given = { block, kernel, "vhost-user": vhostUser }
  const asked = (Object.keys(given) as (keyof typeof given)[]).filter((each) => given[each] === true)
  const [first, second] = asked
  if (second !== undefined) {
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      `Cannot open ${path}: --${first} and --${second} exclude each other; a volume is exported in one way`,
    )
  }
  return first ?? "nbd"
}

const kebab = (field: string): string => field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

type Entries = Readonly<Record<string, v.GenericSchema>>

/** "boolean", "number", "string", … of an entry, through what makes it optional. */
function kindOf(entry: v.GenericSchema): string {
  return "wrapped" in entry ? kindOf(entry.wrapped as v.GenericSchema) : entry.type
}

/**
 * Words of a command line as an object for `entries`, not checked: options by
 * their names, and what is no option under `positionals`. Throws Node's errors for unknown ones.
 */
export function optionsOfWords(
  words: readonly string[],
  entries: Entries,
): { readonly options: Readonly<Record<string, unknown>>; readonly positionals: readonly string[] } {
  const flags = Object.entries(entries).map(([field, entry]) => ({ field, kind: kindOf(entry) }))
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: Object.fromEntries(
      flags.map(({ field, kind }) => [kebab(field), { type: kind === "boolean" ? "boolean" : "string" }]),
    ),
  })
  const options: Record<string, unknown> = {}
  for (const { field, kind } of flags) {
    const value = values[kebab(field)]
    if (value === undefined) continue
    options[field] = kind === "number" && /^\d+$/.test(String(value)) ? Number(value) : value
  }
  return { options, positionals }
}

/** Throws USAGE (exit 1), naming the option. */
export function checkOptions<const S extends v.GenericSchema>(schema: S, given: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, given)
  if (result.success) return result.output
  const [{ message, path }] = result.issues
  const field = String(path?.[0]?.key ?? "")
  const named = /^unknown /.test(message) ? message : `--${kebab(field)} ${message}`
  throw new TresorError("USAGE", Exit.badArguments, `Cannot start tresord: ${named}`)
}
