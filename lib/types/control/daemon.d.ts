/** The CLI's side of tresord: start one, find one, end one. */
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import type { DaemonOptions } from "./daemon-options.ts";
import { VolumeClient } from "./volume-client.ts";
/** Ends the daemons that were not told to stay, and waits until nothing of them writes any more. */
export declare function abandonDaemons(): Promise<void>;
/**
 * A tresord that waits locked and ends with us, until `stay` is called: an
 * interrupted `open` leaves nothing behind.
 */
export declare class StartedDaemon implements AsyncDisposable {
    #private;
    constructor(child: ChildProcess, lifeline: Socket);
    stay(): Promise<void>;
    /** Unless it stays, its name is free again afterwards. */
    [Symbol.asyncDispose](): Promise<void>;
}
/** Starts a tresord and waits until it listens. Rejects with its reason when it does not come up. */
export declare function startDaemon(options: DaemonOptions): Promise<StartedDaemon>;
/** Of another user's volume root may ask and end things; passphrases go to one's own and to root's. */
export interface Reach {
    readonly others?: boolean;
    /** The socket stays open for writing when the other end has ended. */
    readonly halfOpen?: boolean;
}
/**
 * A socket whose peer is the tresord of that name. Throws NOT_OPEN (exit 4) when none lives, IMPOSTOR
 * (exit 2) when somebody else answers.
 */
export declare function connectTresord(name: string, { others, halfOpen }?: Reach): Promise<Socket>;
/** Throws as connectTresord. */
export declare function connectVolume(name: string, reach?: Reach): Promise<VolumeClient>;
export interface CloseOptions {
    /** Although clients are connected. */
    readonly force?: true;
    /** When the last client leaves; it is not waited for. */
    readonly deferred?: true;
}
/** Closes a volume and waits for the end of its process. */
export declare function closeVolume(name: string, reach?: Reach, how?: CloseOptions): Promise<void>;
