/** A worker between a program and a TPM's socket, which writes all bytes of both ways to a file. */
import { appendFileSync } from "node:fs"
import { createConnection, createServer, type Socket } from "node:net"
import { parentPort, workerData } from "node:worker_threads"

const { listen, tpm, file } = workerData as { readonly listen: string; readonly tpm: string; readonly file: string }

function pass(from: Socket, to: Socket): void {
  from.on("data", (chunk) => {
    appendFileSync(file, chunk)
    to.write(chunk)
  })
  from.on("end", () => to.end())
  from.on("error", () => to.destroy())
}

createServer((client) => {
  const other = createConnection(tpm)
  pass(client, other)
  pass(other, client)
}).listen(listen, () => parentPort!.postMessage("listening"))
