/** io.tresor.Volume in front of a session: checks what comes in, says what goes out. */
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import { type Interface, invalidParameter, type Method } from "../control/server.ts"
import { type Parameters, VarlinkError } from "../control/varlink.ts"
import {
  VOLUME_DESCRIPTION,
  VOLUME_INTERFACE,
  type VolumeInput,
  type VolumeMethod,
  type VolumeOutput,
  type VolumeStatus,
  volumeMethods,
} from "../control/volume.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"

export interface Report {
  readonly report: Uint8Array
  /** Whose it is. */
  readonly enclave: EnclaveIdentity
}

/** What a client needs to seal a request. */
export interface Challenge {
  readonly enclave: EnclaveIdentity
  readonly nonce: Uint8Array
  /** The request's public parameters; see Challenge in the interface's text. */
  readonly parameters: Uint8Array
}

/** An enclave that keyslots are sealed to. */
export interface Predecessor {
  readonly mrenclave: string
  readonly slots: readonly number[]
  readonly kept: boolean
}

/** What the interface needs of the open volume; session.ts is one. */
export interface DaemonVolume {
  status(): VolumeStatus
  /** `predecessor`: MRENCLAVE of the one that is asked, in place of the enclave that runs. */
  challenge(
    purpose: VolumeInput<"Challenge">["purpose"],
    predecessor: string | null,
    vouched: boolean,
  ): Promise<Challenge>
  report(targetInfo: Uint8Array, nonce: Uint8Array, predecessor: string | null): Promise<Report>
  predecessors(): Promise<readonly Predecessor[]>
  /** The keyslot whose salt was handed over. */
  succeed(request: VolumeInput<"Succeed">): Promise<number>
  unlock(request: VolumeInput<"Unlock">): Promise<void>
  /** As Unlock, where a reencryption is pending; resolves when it goes on, if it shall. */
  reencrypt(request: VolumeInput<"Reencrypt">): Promise<void>
  /** Resolves when no reencryption runs. */
  pause(): Promise<void>
  lock(): Promise<void>
  /** `lock`, and I/O ends in EIO, if the block device with the data is gone; false: it is there. */
  lockIfRemoved(): Promise<boolean>
  /** The keyslot that opened. Absent in what has no takeover. */
  approve?(request: VolumeInput<"Approve">): Promise<number>
  /** Bytes. */
  resize(): Promise<number>
  /** Resolves at the next change of state; rejects when `signal` is aborted. */
  changed(signal: AbortSignal): Promise<void>
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64")

function wireIdentity(identity: EnclaveIdentity): Parameters {
  return { ...identity, publicKey: base64(identity.publicKey), xfrm: identity.xfrm.toString() }
}

function wireStatus(status: VolumeStatus): Parameters {
  return { ...status, enclave: wireIdentity(status.enclave) }
}

/** A method whose parameters have been checked. */
function checked<M extends VolumeMethod>(method: M, handle: (input: VolumeInput<M>) => Promise<Parameters>): Method {
  return async (parameters) => handle(parse(method, parameters))
}

function parse<M extends VolumeMethod>(method: M, parameters: Parameters): VolumeInput<M> {
  const result = v.safeParse(volumeMethods[method].input, parameters)
  if (result.success) return result.output as VolumeInput<M>
  const [issue] = result.issues
  throw invalidParameter(String(issue.path?.[0]?.key ?? ""))
}

export function refusal(error: unknown): VarlinkError {
  const { code, exitCode, message } =
    error instanceof TresorError
      ? error
      : {
          code: "INTERNAL",
          exitCode: Exit.wrongDevice,
          message: error instanceof Error ? error.message : String(error),
        }
  return new VarlinkError(`${VOLUME_INTERFACE}.Refused`, { code, exitCode, message })
}

async function quoteOf(
  volume: DaemonVolume,
  { nonce, predecessor }: VolumeInput<"Quote">,
  aesmSocket: string | undefined,
): Promise<Uint8Array> {
  const { name, enclave } = volume.status()
  if (enclave.backend === "software") {
    const fact = "the software backend has none"
    throw new TresorError(
      "ATTEST_NO_QUOTE",
      Exit.denied,
      `Cannot get a quote of ${name}: ${fact}; it needs SGX hardware`,
    )
  }
  // Protobuf is loaded for those who ask.
  const { quoteFrom } = await import("../attest/gather/aesmd.ts")
  return quoteFrom(async (targetInfo) => (await volume.report(targetInfo, nonce, predecessor)).report, aesmSocket)
}

/** Resolves when another tresord has the volume. */
export type Upgrade = (program: readonly string[]) => Promise<VolumeOutput<"Upgrade">>

/**
 * `close` is called for Close: it drains and flushes before it resolves, and ends the process after the reply;
 * deferred, it resolves at once and does so later.
 * `upgrade` is called for Upgrade, and ends the process after the reply.
 * `aesmSocket`: of another aesmd than the machine's.
 */
export function volumeInterface(
  volume: DaemonVolume,
  close: (how: VolumeInput<"Close">) => Promise<void>,
  { upgrade, aesmSocket }: { readonly upgrade?: Upgrade; readonly aesmSocket?: string } = {},
): Interface {
  return {
    name: VOLUME_INTERFACE,
    description: VOLUME_DESCRIPTION,
    methods: {
      async *Status(parameters, { more, signal }) {
        parse("Status", parameters)
        while (more && !signal.aborted) {
          const next = volume.changed(signal)
          // Nobody waits for it when the peer leaves at the yield.
          next.catch(() => {})
          yield { volume: wireStatus(volume.status()) }
          try {
            await next
          } catch {
            break
          }
        }
        return { volume: wireStatus(volume.status()) }
      },
      Challenge: checked("Challenge", async ({ purpose, predecessor, vouched }) => {
        const { nonce, parameters, enclave } = await volume.challenge(purpose, predecessor, vouched === true)
        return { nonce: base64(nonce), parameters: base64(parameters), enclave: wireIdentity(enclave) }
      }),
      Report: checked("Report", async ({ targetInfo, nonce, predecessor }) => {
        const { report, enclave } = await volume.report(targetInfo, nonce, predecessor)
        return { report: base64(report), volume: wireStatus(volume.status()), enclave: wireIdentity(enclave) }
      }),
      Quote: checked("Quote", async (asked) => ({ quote: base64(await quoteOf(volume, asked, aesmSocket)) })),
      Predecessors: checked("Predecessors", async () => ({
        enclaves: (await volume.predecessors()).map((each) => ({ ...each, slots: [...each.slots] })),
      })),
      Succeed: checked("Succeed", async (request) => ({ slot: await volume.succeed(request) })),
      Unlock: checked("Unlock", async (request) => {
        await volume.unlock(request)
        return { volume: wireStatus(volume.status()) }
      }),
      Reencrypt: checked("Reencrypt", async (request) => {
        await volume.reencrypt(request)
        return { volume: wireStatus(volume.status()) }
      }),
      Pause: checked("Pause", async () => {
        await volume.pause()
        return { volume: wireStatus(volume.status()) }
      }),
      ...(volume.approve !== undefined && {
        Approve: checked("Approve", async (request) => ({ slot: await volume.approve!(request) })),
      }),
      ...(upgrade !== undefined && {
        Upgrade: checked("Upgrade", async ({ program }) => ({ ...(await upgrade(program)) })),
      }),
      Lock: checked("Lock", async ({ ifRemoved }) => {
        const wiped = volume.status().state === "unlocked"
        if (ifRemoved === true) return { wiped: (await volume.lockIfRemoved()) && wiped }
        await volume.lock()
        return { wiped }
      }),
      Resize: checked("Resize", async () => ({ size: await volume.resize() })),
      Close: checked("Close", async (how) => {
        await close(how)
        return {}
      }),
    },
  }
}
