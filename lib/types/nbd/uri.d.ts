export interface NbdTarget {
    readonly at: {
        readonly path: string;
    } | {
        readonly host: string;
        readonly port: number;
    };
    readonly exportName: string;
}
export declare const isNbdUri: (text: string) => boolean;
/** Of the export without a name behind a Unix socket. */
export declare function nbdUri(socket: string): string;
/** Throws TresorError NBD_URI. */
export declare function parseNbdUri(text: string): NbdTarget;
