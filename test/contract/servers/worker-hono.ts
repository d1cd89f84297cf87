import { toHonoMiddleware } from '../../../src/adapters/hono/middleware';
import { honoApp } from '../apps/hono';
import { Subject } from '../subject';

// On Workers a sealed list is what `verify()` takes; test/workers has one. Here the vectors' list is asked.
const subject = new Subject();
export default honoApp(subject, (options) => toHonoMiddleware(() => subject.verifier(options)));
