import { formatSize } from "../../base/size.ts"
import { connectVolume } from "../../control/daemon.ts"
import { out } from "../output/output.ts"

export async function resize(name: string): Promise<void> {
  using volume = await connectVolume(name)
  const { size } = await volume.call("Resize")
  const { device } = await volume.status()
  const seen = device === null ? "connected clients see it when they reconnect" : "its filesystem can grow now"
  out.line(`${name} has ${formatSize(size)} now; ${seen}.`)
}
