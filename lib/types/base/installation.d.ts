/** Of the checkout or installation. */
export declare const installationRoot: string;
/** Absolute path of a file of the installation; throws NOT_BUILT when it is missing. */
export declare function installed(path: string): string;
