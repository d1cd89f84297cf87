// A server that knows nothing but its environment: node target.mjs [<port>]
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { amesh } from '@authmesh/sdk';

const verify = amesh.verify();
const left = process.env.AMESH_BOOTSTRAP_TOKEN === undefined ? 'gone' : 'left';
const server = createServer((request, response) =>
  verify(request, response, () => {
    const { authMesh } = request as typeof request & { authMesh: object };
    response.end(JSON.stringify(authMesh));
  }),
);
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.stdout.write(`token ${left}\n`);
  process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`);
});
