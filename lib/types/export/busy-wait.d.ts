/**
 * Decides how long to poll for a client's next request before sleeping. To be
 * woken costs both sides more than a short wait, but most waits are long: so, as
 * KVM does before it halts a CPU, only a client that lately asked again within
 * LONGEST is waited for, and twice as long each time until that is met. Pure;
 * times are in microseconds.
 */
/** More than two wake-ups cost: who takes longer gains nothing. */
export declare const LONGEST = 50;
export declare class BusyWait {
    #private;
    /** 0: sleep at once. */
    get window(): number;
    /** Nothing is left to do. */
    begin(now: number): void;
    /** Input came while asleep. */
    end(now: number): void;
}
