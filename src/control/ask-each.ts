/** Asks every open volume the same: one's own, and for root those of the users, who may answer what they like, or not at all. */
import { connectVolume } from "./daemon.ts"
import { allEntries } from "./find.ts"
import type { VolumeClient } from "./volume-client.ts"

/** "dead": its tresord ended. "silent": it has not answered in time. */
export type Answer<T> = { readonly kind: "given"; readonly value: T } | { readonly kind: "dead" | "silent" }

export interface Asked<T> {
  readonly name: string
  /** User id. */
  readonly owner: number
  /** Of the data, as state.json says; empty when it cannot be read. */
  readonly path: string
  readonly answer: Answer<T>
}

/** A tresord that is not stopped answers in milliseconds. Less than collectors of metrics wait. */
const ANSWER_MS = 5000

/** `null`: it was closed between the look and the question. */
async function askOne<T>(
  name: string,
  others: boolean,
  ask: (client: VolumeClient) => Promise<T>,
): Promise<Answer<T> | null> {
  const late = AbortSignal.timeout(ANSWER_MS)
  try {
    using client = await connectVolume(name, { others })
    late.throwIfAborted()
    // What waits for an answer ends with the connection.
    late.addEventListener("abort", () => client[Symbol.dispose]())
    return { kind: "given", value: await ask(client) }
  } catch {
    return late.aborted ? { kind: "silent" } : null
  }
}

/** All at once, so that one who does not answer keeps nobody waiting for longer than ANSWER_MS. */
export async function askEach<T>(ask: (client: VolumeClient) => Promise<T>): Promise<Asked<T>[]> {
  const asked = allEntries().map(async ({ name, owner, state, live }): Promise<Asked<T> | null> => {
    const path = state === "damaged" ? "" : state.path
    const answer = live ? await askOne(name, owner !== process.getuid!(), ask) : { kind: "dead" as const }
    return answer === null ? null : { name, owner, path, answer }
  })
  return (await Promise.all(asked)).filter((each) => each !== null)
}
