/**
 * A passphrase from systemd's password agents (console, plymouth, wall), as at boot: by systemd-ask-password. It comes in
 * clear through systemd's processes and a pipe as far as here (docs/threat-model.md); it is a copy of our own then, and wiped.
 */
import { spawn } from "node:child_process"
import { Exit, TresorError } from "../base/errors.ts"
import { searchPath } from "../base/programs.ts"
import { visibleLine } from "../base/visible.ts"

export interface AgentQuestion {
  readonly prompt: string
  /** Seconds; no limit when absent or 0. */
  readonly timeout: number | undefined
  /** Answers are kept in root's keyring for 2.5 minutes, for other volumes. */
  readonly cache: boolean
  /** An answer was wrong: what is cached may be it. */
  readonly again: boolean
  /** Withdraws the question. */
  readonly signal?: AbortSignal | undefined
}

/** Words for systemd-ask-password. It caches what is typed, unchecked; only a first question may take what it has. */
export function wordsFor({ prompt, timeout, cache, again }: AgentQuestion): readonly string[] {
  return [
    "--no-tty",
    "--icon=drive-harddisk",
    "--id=tresor",
    `--timeout=${timeout ?? 0}`,
    ...(cache ? ["--keyname=tresor"] : []),
    ...(cache && !again ? ["--accept-cached"] : []),
    "--",
    visibleLine(prompt),
  ]
}

function failed(fact: string): TresorError {
  return new TresorError(
    "PASSPHRASE_FAILED",
    Exit.denied,
    `Cannot get the passphrase from a password agent: ${fact}; \`tresor setkey\` on a terminal asks there`,
  )
}

const NEWLINE = 10

/** The bytes are the caller's, to be wiped. */
export async function askAgents(question: AgentQuestion, command = "systemd-ask-password"): Promise<Uint8Array> {
  const env = { ...process.env, PATH: searchPath() }
  const { signal } = question
  signal?.throwIfAborted()
  // Its end by SIGTERM takes the question away from the agents.
  const child = spawn(command, wordsFor(question), {
    stdio: ["ignore", "pipe", "pipe"],
    env,
    ...(signal && { signal }),
  })
  const chunks: Buffer[] = []
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk))
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text
  })
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.on("error", (error: NodeJS.ErrnoException) =>
        reject(failed(error.code === "ENOENT" ? `${command} is not installed` : error.message)),
      )
      child.on("close", (status) => resolve(status ?? 128))
    })
    if (code !== 0) throw failed(visibleLine(said.trim().split("\n").at(-1) ?? "") || `${command} exited with ${code}`)
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    const last = chunks.at(-1)?.at(-1) === NEWLINE ? 1 : 0
    // Not a slice of Node's pool.
    const answer = Buffer.alloc(length - last)
    let at = 0
    for (const chunk of chunks) at += chunk.copy(answer, at)
    return answer
  } finally {
    for (const chunk of chunks) chunk.fill(0)
  }
}
