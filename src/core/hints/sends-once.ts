/** Marks a `fetch` that never retries, such as that of `amesh doctor`: the text of a refusal then says nothing about retries. */
export const SENDS_ONCE = Symbol.for('amesh.sendsOnce');
