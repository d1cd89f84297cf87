// An instance that enrols callers: node enrolling.mjs
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { amesh } from '@authmesh/sdk';

const verify = amesh.verify({ enroll: true });
const server = createServer((request, response) => verify(request, response, () => response.end('passed')));
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`);
});
