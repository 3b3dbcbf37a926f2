import { closeVolume } from "../daemon.ts"

export async function close(name: string): Promise<void> {
  await closeVolume(name, { others: true })
}
