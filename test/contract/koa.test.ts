import { vi } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { listen } from '../support/listen';
import { koaApp } from './apps/koa';
import { describeContract } from './contract';
import { Subject } from './subject';

const subject = new Subject();
vi.mock('@authmesh/sdk', () => ({
  // The instance of this machine, as docs/frameworks.md imports it: here that of the contract.
  amesh: { verify: (options: object) => toMiddleware(subject.verifier(options)) },
}));
const { verify } = await import('./apps/koa-verify');

await describeContract({
  name: 'Koa',
  column: 'Express, Node',
  runtime: 'node',
  isLikeAnother: true,
  start: () => listen(koaApp(subject, verify as never).callback()),
});
