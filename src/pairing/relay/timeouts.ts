/*
 * How long each side waits for the other, in milliseconds. The sum stays below the five minutes of a session.
 */

/** For a message that needs no person. */
export const MESSAGE_MS = 10_000;
/** For all typing of the verification code. */
export const TYPING_MS = 120_000;
/** For each other answer of a person. */
export const ANSWER_MS = 60_000;
/** What a relay may take longer than it says. */
export const GRACE_MS = 5_000;
