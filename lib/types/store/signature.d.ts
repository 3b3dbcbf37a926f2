import type { Store } from "./store.ts";
/** What is kept there beside LUKS, or with `luks` LUKS too, by name; `null`: nothing that is known. */
export declare function signatureOn(store: Store, options: {
    readonly luks: boolean;
}): Promise<string | null>;
