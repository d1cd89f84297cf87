/*
 * How long each side waits for the other, in milliseconds. The sum stays below the five minutes of a session.
 */

/** For a message that needs no answer of a person. */
export const MESSAGE_MS = 10_000;
/** For typing the verification code, all tries together. */
export const TYPING_MS = 120_000;
/** For each other answer of a person. */
export const ANSWER_MS = 60_000;
/** How much longer than announced a relay may take. */
export const GRACE_MS = 5_000;
