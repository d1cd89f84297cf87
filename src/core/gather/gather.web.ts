import type { gatherAnswers as Gather } from './gather';

/** WebCrypto works on other threads, so nothing is gained by waiting for others. */
export const gatherAnswers: typeof Gather = () => undefined;
export { gatherAnswers as gatherCalls, gatherAnswers as gatherRequests };
