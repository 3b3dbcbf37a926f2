import type { VolumeStatus } from "../control/volume.ts"

/** The object `open --json` prints. */
export function summary(volume: VolumeStatus) {
  return {
    name: volume.name,
    uri: volume.uri,
    socket: volume.socket,
    pid: volume.pid,
    size: volume.size,
    sectorSize: volume.sectorSize,
    cipher: volume.cipher,
    backend: volume.enclave.backend,
    readonly: volume.readonly,
  }
}
