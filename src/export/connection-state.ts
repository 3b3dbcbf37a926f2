/**
 * Where the conversation with one client is. The socket's own life is channel.ts's,
 * what waits for memory admission.ts's; that the server closes is no state of the
 * conversation but a time limit (Connection.close).
 *
 *   greeting  the client chooses its export
 *   serving   requests are taken in
 *   parting   it said goodbye, and answers to what came before are not all in the output
 *   parted    no more is taken in; what it asked for is finished, whether or not it is still there
 *   left      no more is taken in, without a goodbye: nothing but writes is finished when nobody is there
 */
export type State = "greeting" | "serving" | "parting" | "parted" | "left"

export const MOVES: Readonly<Record<State, readonly State[]>> = {
  greeting: ["serving", "left"],
  serving: ["parting", "left"],
  parting: ["parted"],
  parted: [],
  left: [],
}

/** The state after a legal move. Throws on any other: a fault of this program. */
export function moved(from: State, to: State): State {
  if (!MOVES[from].includes(to)) throw new Error(`a connection does not go from ${from} to ${to}`)
  return to
}

/** After the last request, whoever ended it. */
export const finished = (from: State): State =>
  MOVES[from].length === 0 ? from : moved(from, from === "parting" ? "parted" : "left")

/** Whether requests are taken in. */
export const takesRequests = (state: State): boolean => state === "serving" || state === "parting"

/** Whether the client has said that it is owed what it asked for. */
export const saidGoodbye = (state: State): boolean => state === "parting" || state === "parted"
