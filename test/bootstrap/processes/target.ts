// A server that knows nothing but its environment: node target.mjs [<port>]. With the port "none" it is only loaded, as by a build.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { amesh } from '@authmesh/sdk';

const verify = amesh.verify();
const token = () => (process.env.AMESH_BOOTSTRAP_TOKEN === undefined ? 'gone' : 'left');
const server = createServer((request, response) =>
  verify(request, response, () => {
    const { authMesh } = request as typeof request & { authMesh: object };
    response.setHeader('x-token', token());
    response.end(JSON.stringify(authMesh));
  }),
);
if (process.argv[2] === 'none') setTimeout(() => process.stdout.write(`token ${token()}\n`), 500);
else
  server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
    process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`);
  });
