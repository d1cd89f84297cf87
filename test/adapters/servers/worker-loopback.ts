import { toHonoMiddleware } from '../../../src/adapters/hono/middleware';
import { toFetchHandler } from '../../../src/adapters/workers/handler';
import { loopbackApp, verifier } from './loopback-app';

const source = () => verifier;
export default {
  fetch: loopbackApp(toHonoMiddleware(source), (handler) => toFetchHandler<unknown[]>(source, handler)),
};
