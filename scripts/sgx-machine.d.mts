/** Types of sgx-machine.mjs for the tests. */
export declare const firmware: readonly string[]
export declare function chooseVersion(installed: string, offered: readonly string[]): string
export declare function sgxMachine(say?: (text: string) => void): string
