import { toFetchHandler } from '../../../src/adapters/workers/handler';
import { fetchApp } from '../apps/fetch';
import { Subject } from '../subject';

// On Workers a sealed list is what `withAmesh()` takes; test/workers has one. Here the vectors' list is asked.
const subject = new Subject();
export default {
  fetch: fetchApp(subject, (handler, options) => toFetchHandler(() => subject.verifier(options), handler)),
};
