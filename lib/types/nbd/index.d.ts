/** The NBD protocol's client side for programs. */
export { IoError } from "../base/io-error.ts";
export { NbdClient, type NbdClientOptions } from "./client.ts";
export { isNbdUri, type NbdTarget, parseNbdUri } from "./uri.ts";
