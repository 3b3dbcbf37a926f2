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
/** Throws TresorError NBD_URI. */
export declare function parseNbdUri(text: string): NbdTarget;
