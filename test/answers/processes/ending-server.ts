// A server whose handlers do something directly after response.end() that ends the process, or keeps it busy.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isMainThread, Worker } from 'node:worker_threads';
import { toMiddleware } from '../../../src/adapters/express/middleware';
import { inPairs } from '../../support/in-pairs';
import { provingVerifier } from '../../support/proofs';

const AFTER: Record<string, () => void> = {
  '/exit': () => process.exit(0),
  '/throw': () => {
    throw new Error('after the end');
  },
};

if (isMainThread && process.argv[2] === 'in a thread') {
  new Worker(new URL(import.meta.url));
} else {
  const verify = toMiddleware(await provingVerifier());
  const server = createServer(
    inPairs((request, response) =>
      verify(request, response, () => {
        if (request.url === '/end-at-exit') {
          process.on('exit', () => response.end('bye'));
          process.exit(0);
        }
        response.end('bye');
        AFTER[request.url ?? '']?.();
      }),
    ),
  );
  server.listen(0, '127.0.0.1', () => {
    console.log(`port ${(server.address() as AddressInfo).port}`);
  });
}
