/**
 * Memory held by the requests of one connection: each takes its share of
 * everybody's budget before it begins, and gives it back when its reply has left.
 *
 * Nobody holds memory while waiting for more of it. State by state, what a
 * connection holds, and which connection it waits for:
 *
 *   state of a request    holds                     waits for
 *   unparsed, unserved    nothing of the budget     those being served, or whoever else holds the budget
 *   granted               its cost, once            its client's next bytes, or nothing; given back when others wait
 *   payload being filled  its cost                  its client's bytes only: nothing came before it that is unserved
 *   being served          its cost                  the volume, which knows nothing of this budget
 *   replied               its cost                  its client's reading only
 *
 * So every wait ends at the volume or at a client. A client that does not go on
 * while others wait for memory is cut off (Connection.stuck).
 */
import type { Budget } from "../base/budget.ts";
export declare class Admission {
    #private;
    /** `share`: bytes of those that are being served; one alone may have more. `goOn`: called when a wait is over. */
    constructor(budget: Budget, share: () => number, closed: AbortSignal, goOn: () => void);
    /** Being served, or with a payload that is being filled. */
    get requests(): number;
    /** `admit` waits for others. */
    get awaited(): boolean;
    /** Others wait for memory. */
    get contended(): boolean;
    /** Bytes of a grant that no request has taken; `null`: there is none. */
    get granted(): number | null;
    /**
     * Whether there is room for a request, this connection's and everybody's: then
     * it is taken, for `enter`. Otherwise things go on by themselves when there is.
     */
    admit(cost: number): boolean;
    /** True: there was a grant, which is given back. */
    release(): boolean;
    /** A request takes what was granted; what it is to `leave` with. */
    enter(): number;
    /** A payload is complete: its request takes over what it holds. */
    handOver(cost: number): void;
    leave(cost: number): void;
}
