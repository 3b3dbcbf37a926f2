import { formatSize } from "../../base/size.ts"
import { connectVolume } from "../../control/daemon.ts"
import { out } from "../output/output.ts"

export async function resize(name: string): Promise<void> {
  using volume = await connectVolume(name)
  const { size } = await volume.call("Resize")
  out.line(`${name} has ${formatSize(size)} now; connected clients see it when they reconnect.`)
}
