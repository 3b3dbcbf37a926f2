/**
 * tresord: serves one volume. Started by `tresor open` (which gives it its
 * arguments over a lifeline) or by systemd; runs until Close, SIGTERM or SIGINT.
 *
 *   tresord [options] -- PATH NAME
 *   tresord --legacy [--setkey] [--pbkdf KIND] [-- RECORD [NAME]]
 */
import { renameSync } from "node:fs"
import type { Socket } from "node:net"
import { resolve } from "node:path"
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import { VERSION } from "../base/version.ts"
import { visibleLine } from "../base/visible.ts"
import {
  checkOptions,
  type DaemonOptions,
  daemonOptionsSchema,
  exportOf,
  optionsOfWords,
} from "../control/daemon-options.ts"
import { claimName, type RuntimePaths, releaseName, runtimePaths, takeName } from "../control/runtime.ts"
import { runtimeRoot } from "../control/runtime-root.ts"
import { ControlServer } from "../control/server.ts"
import { preparePlace, type SocketPlace } from "../control/socket-place.ts"
import { adoptOwner } from "../enclave/secret-owner.ts"
import { exitNow, peerCredentials, trimHeap, unblockSigusr1 } from "../native/addon.ts"
import { refuseTracer } from "../native/hardening.ts"
import { listenHere } from "../native/listener.ts"
import { nbdUri } from "../nbd/uri.ts"
import { defaultRecord, type LegacyArguments, legacySchema, startLegacy } from "./legacy-start.ts"
import { Lifeline, reportFailure } from "./lifeline.ts"
import { startLog } from "./log.ts"
import { refusal, volumeInterface } from "./service.ts"
import { ServiceManager } from "./service-manager.ts"
import type { Session } from "./session.ts"
import { startSession } from "./start.ts"
import { Takeover } from "./takeover/successor.ts"

/** Where the log went before there was a directory for it; given by the starter. */
const ownEntries = {
  lifeline: v.optional(v.boolean(), false),
  logFile: v.optional(v.nullable(v.string()), null),
  /** Mappings of 2016's flow instead of a volume. */
  legacy: v.optional(v.boolean(), false),
  /** From the tresord that has started this one. */
  takeOver: v.optional(v.boolean(), false),
}

type Arguments = { readonly logFile: string | null } & (
  | ({ readonly legacy: false } & DaemonOptions)
  | ({ readonly legacy: true; readonly header: null; readonly readonly: false } & LegacyArguments)
)

/** `sent`: by the starter, in place of options and positionals. */
function readArguments(words: readonly string[], sent: unknown): Arguments {
  const entries = { ...daemonOptionsSchema.entries, ...legacySchema.entries, ...ownEntries }
  const { path: _path, name: _name, ...flags } = entries
  const { options, positionals } = optionsOfWords(words, flags)
  const { legacy, logFile } = v.parse(v.object(ownEntries), options)
  if (sent !== null) return { ...v.parse(daemonOptionsSchema, sent), legacy: false, logFile }
  const [path, name, ...rest] = legacy
    ? [positionals[0] ?? defaultRecord(), positionals[1] ?? "legacy", ...positionals.slice(2)]
    : positionals
  if (path === undefined || name === undefined || rest.length > 0) {
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      "Cannot start tresord: a path and a name are required; example: tresord -- disk.img work",
    )
  }
  const given = { ...options, path, name }
  return legacy
    ? { ...checkOptions(legacySchema, given), legacy, header: null, readonly: false, logFile }
    : { ...checkOptions(daemonOptionsSchema, given), legacy, logFile }
}

/** Where the socket of NBD or vhost-user is to be. */
function socketPlace(
  { path, socket, socketGroup, socketMode }: DaemonOptions,
  own: string,
  taken: boolean,
): Promise<SocketPlace> {
  if (socket !== null) {
    return preparePlace({ path: resolve(socket), group: socketGroup, mode: Number.parseInt(socketMode, 8) }, taken)
  }
  if (socketGroup === null && socketMode === "0600") return Promise.resolve({ path: own, gid: null, mode: 0o600 })
  throw new TresorError(
    "USAGE",
    Exit.badArguments,
    `Cannot open ${path}: --socket-group and --socket-mode need --socket; others cannot enter the runtime directory`,
  )
}

/** Where the plaintext is reached. */
async function placeOf(
  options: DaemonOptions,
  paths: RuntimePaths,
  taken: boolean,
): Promise<{ readonly socket: SocketPlace | null; readonly uri: string }> {
  const way = exportOf(options)
  if (way === "block" || way === "kernel") {
    if (options.socket === null) {
      return { socket: null, uri: way === "block" ? `/dev/tresor/${options.name}` : `/dev/mapper/${options.name}` }
    }
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      `Cannot open ${options.path}: --socket and --${way} exclude each other; a block device has no socket`,
    )
  }
  const socket = await socketPlace(options, way === "nbd" ? paths.nbd : paths.vhost, taken)
  return { socket, uri: way === "nbd" ? nbdUri(socket.path) : socket.path }
}

/** A session, or the legacy service. */
type Served = Awaited<ReturnType<typeof startSession | typeof startLegacy>>

/** Our end of the socket to the tresord whose volume we take over. */
const TAKEOVER_FD = 4

/** Owner and root; Node shows the descriptor on the handle only. */
function admit(socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } | null }
  if (handle === null) return false
  const { uid } = peerCredentials(handle.fd)
  return uid === 0 || uid === process.getuid!()
}

/** When what a start needed is not needed any more: V8 has read its code. */
const START_MS = 5000

async function main(): Promise<void> {
  const log = startLog()
  const root = runtimeRoot()
  const lifeline = process.argv.includes("--lifeline") ? new Lifeline() : null
  const taking = process.argv.includes("--take-over")
  const systemd = new ServiceManager(!taking)
  let claimed: string | null = null
  let session: Served | null = null
  try {
    refuseTracer("tresord")
    const sent = lifeline === null ? null : await lifeline.options()
    if (lifeline !== null && sent === null) return
    const options = readArguments(process.argv.slice(2), sent)
    // What ps shows; our own arguments name no volume.
    if (lifeline !== null) process.title = `tresord: ${options.name} ${options.path}`
    const appear = (control: number) => {
      takeName(root, options.name)
      // At once: whoever looks compares the two.
      listenHere(control)
    }
    const takeover = taking ? await Takeover.begin(TAKEOVER_FD, options.name, appear) : null
    const paths =
      takeover !== null
        ? runtimePaths(root, options.name)
        : claimName(root, options.name, options.path, options.readonly, options.header)
    if (takeover === null) claimed = options.name
    log.about(options.name)
    if (options.logFile !== null) renameSync(options.logFile, paths.log)
    const warn = (message: string, facts: Record<string, unknown>) => log.warn(message, facts)
    const owner = adoptOwner(options.path)
    if (owner !== null) log.info("uses the machine secret of the file's owner", { ...owner })
    const opened = options.legacy
      ? await startLegacy({
          ...options,
          warn,
          onLost: () => {
            log.fatal("the enclave is lost, and with it the keys")
            systemd.tell("STATUS=the enclave is lost, and with it the keys")
            void exit(Exit.wrongDevice)
          },
        })
      : await startSession({
          ...options,
          given: options,
          ...(await placeOf(options, paths, takeover !== null)),
          warn,
          ...(takeover !== null && { takeover }),
        })
    session = opened
    claimed = options.name

    let ending: Promise<void> | null = null
    /** Drains, flushes, wipes; the second caller waits for the first. */
    const close = (why: string): Promise<void> => {
      if (ending === null) {
        log.info("closing", { why })
        systemd.tell(`STOPPING=1\nSTATUS=closing: ${visibleLine(why)}`)
        ending = opened.close()
      }
      return ending
    }
    /** After `close`: nothing is left to lose. */
    const exit = async (code: number) => {
      await control.close()
      releaseName(root, options.name)
      log.info("closed", { ...opened.counters() })
      exitNow(code)
    }
    /** A mapping with a filesystem on it outlasts the signal: ending under it would lose writes. */
    const closeOnSignal = (why: string) =>
      opened.release(true).then(
        () => closeAndExit(why),
        (error: unknown) => log.error("goes on", { why, reason: (error as Error).message }),
      )
    const closeAndExit = (why: string) =>
      close(why).then(
        () => exit(0),
        (error: unknown) => {
          const reason = (error as Error).message
          log.error("data may be lost", { reason })
          systemd.tell(`STATUS=${visibleLine(`data may be lost: ${reason}`)}`)
          return exit(Exit.wrongDevice)
        },
      )

    const upgrade = async (session: Session, program: readonly string[]) => {
      const successor = await session.upgrade(program, {
        pause: () => control.pause(),
        resume: async (fd) => {
          takeName(root, options.name)
          await control.resume(fd)
        },
        passed: ({ pid }) => systemd.pass(pid),
      })
      log.info("another tresord has taken the volume over", { ...successor })
      // The reply is written before the process ends.
      setImmediate(() => void control.close().then(() => exitNow(0)))
      return successor
    }

    const control = await ControlServer.listen({
      listen: { path: paths.control, ...(takeover !== null && { fd: takeover.control }) },
      info: { vendor: "Tresor", product: "tresord", version: VERSION, url: "" },
      interfaces: [
        volumeInterface(
          opened,
          async ({ force, deferred }) => {
            await opened.release(force === true)
            if (deferred === true && "vacant" in opened) {
              log.info("closes when the last client leaves")
              void opened.vacant().then(() => closeOnSignal("the last client left"))
              return
            }
            if (force !== true && "vacate" in opened) await opened.vacate()
            try {
              await close("asked to")
            } finally {
              // The reply is written before the process ends.
              setImmediate(() => void closeAndExit("asked to"))
            }
          },
          "upgrade" in opened ? { upgrade: (program) => upgrade(opened, program) } : {},
        ),
      ],
      admit,
      translate: (error) => {
        if (!(error instanceof TresorError))
          log.error("a call failed", { reason: (error as Error).stack ?? String(error) })
        return refusal(error)
      },
    })

    process.on("SIGTERM", () => void closeOnSignal("SIGTERM"))
    process.on("SIGINT", () => void closeOnSignal("SIGINT"))
    process.on("SIGUSR1", () => log.info("counters", { ...opened.counters() }))
    unblockSigusr1()
    // A terminal that closes does not concern the daemon.
    process.on("SIGHUP", () => {})
    watch(opened, log, systemd)

    log.info("ready", { path: options.path, pid: process.pid, version: VERSION })
    lifeline?.ready(() => void closeAndExit("the opener went away"))
    const ready = () => systemd.ready(opened.status().state)
    if (takeover === null) ready()
    else void takeover.left.then(ready)
    setTimeout(trimHeap, START_MS).unref()
  } catch (error) {
    const reason = (error as Error).message
    log.fatal("cannot start", { reason })
    // `systemctl status` shows it beside the exit code.
    systemd.tell(`STATUS=${visibleLine(`cannot start: ${reason}`)}`)
    await session?.close().catch(() => {})
    if (claimed !== null) releaseName(root, claimed)
    if (lifeline !== null) reportFailure(error)
    process.exit(error instanceof TresorError ? error.exitCode : Exit.wrongDevice)
  }
}

/** Logs changes of state and tells systemd. */
function watch(session: Served, log: ReturnType<typeof startLog>, systemd: ServiceManager): void {
  void (async () => {
    for (;;) {
      try {
        await session.changed(new AbortController().signal)
      } catch {
        return
      }
      const { state, keyslot, reencryption } = session.status()
      const words = reencryption === null ? "" : `, reencryption ${reencryption.state}`
      log.info("state", { state, keyslot, ...(reencryption !== null && { reencryption }) })
      systemd.tell(`STATUS=${state}${words}`)
    }
  })()
}

void main()
