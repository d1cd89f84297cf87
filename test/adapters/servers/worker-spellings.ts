import { toHonoMiddleware } from '../../../src/adapters/hono/middleware';
import { toFetchHandler } from '../../../src/adapters/workers/handler';
import { spellingsApp, verifier } from './spellings-app';

const source = () => verifier;
export default {
  fetch: spellingsApp(toHonoMiddleware(source), (handler) => toFetchHandler<unknown[]>(source, handler)),
};
