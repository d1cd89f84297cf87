// A server for the devices that a folder's list trusts. node server.mjs <dir> [<port> [delegates]]
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAmesh } from '@authmesh/sdk';

const [dir = '', port = '0', delegates] = process.argv.slice(2);
const verify = createAmesh({ dir, env: {} }).verify({ delegates: delegates !== undefined });

const server = createServer((request, response) => verify(request, response, () => response.end('passed')));
server.listen(Number(port), '127.0.0.1', () => {
  process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`);
});
