// One of several processes of a target, which takes delegates: node server.mjs
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { amesh } from '@authmesh/sdk';

const verify = amesh.verify({ require: 'orders:read' });
const server = createServer((request, response) => verify(request, response, () => response.end('passed')));
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`);
});
