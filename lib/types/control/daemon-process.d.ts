/** A tresord as a process that waits for its arguments. Loads next to nothing: launch.ts starts one first of all. */
import { type ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
export interface DaemonProcess {
    readonly child: ChildProcess;
    /** Our end: its arguments go there, its first line says whether it came up. Neither keeps our event loop alive. */
    readonly lifeline: Socket;
    /** `null`: it died before it could say anything. */
    readonly firstLine: Promise<string | null>;
    /** What it writes to standard error until it has a directory of its own. */
    readonly log: string;
}
/** Throws when there can be no runtime directory. */
export declare function spawnDaemon(): DaemonProcess;
export declare function keepEarly(daemon: DaemonProcess | null): void;
export declare function takeDaemon(): DaemonProcess;
/** After a command that took none: without arguments, it ends and leaves nothing. */
export declare function discardEarly(): void;
