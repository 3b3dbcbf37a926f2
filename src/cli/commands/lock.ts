import { connectVolume } from "../daemon.ts"

export async function lock(name: string): Promise<void> {
  using volume = await connectVolume(name, { others: true })
  await volume.call("Lock")
}
