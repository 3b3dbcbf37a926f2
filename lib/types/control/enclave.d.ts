/** A tresord's enclave, to be judged and sealed to. */
import type { Askable } from "../attest/trusted-enclave.ts";
import type { VolumeStatus } from "./volume.ts";
import type { VolumeClient } from "./volume-client.ts";
/** The enclave that `volume`, a status of just now, speaks of. */
export declare function askVolume(client: VolumeClient, volume: VolumeStatus): Askable;
