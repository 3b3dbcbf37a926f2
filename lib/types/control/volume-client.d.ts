import type { ControlClient } from "./client.ts";
import { type Parameters } from "./varlink.ts";
import { type VolumeMethod, type VolumeOutput, type VolumeStatus } from "./volume.ts";
export declare class VolumeClient implements Disposable {
    #private;
    constructor(client: ControlClient, name: string);
    call<M extends VolumeMethod>(method: M, input?: Parameters): Promise<VolumeOutput<M>>;
    status(): Promise<VolumeStatus>;
    /** The status now and after each change of state, until the daemon ends. */
    watch(): AsyncGenerator<VolumeStatus, void>;
    [Symbol.dispose](): void;
}
