import { toFetchHandler } from '../../../src/adapters/workers/handler';
import { streamApp, verifier } from './stream-app';

export default { fetch: streamApp((handler) => toFetchHandler(() => verifier, handler)) };
