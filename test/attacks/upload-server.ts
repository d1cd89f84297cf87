import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import { verify as verifyExpress } from '@authmesh/sdk/express';

// A server in a process of its own, whose memory is looked at from outside. It says what it has to say in lines.
process.on('unhandledRejection', (reason) => console.log(`unhandled ${reason}`));

const refused: Record<string, number> = {};
const verifier = createVerifier({
  allowList: { hosts: ['127.0.0.1'] },
  nonceStore: new InMemoryNonceStore({ capacity: 1000 }),
  onRefusal: ({ code }) => {
    refused[code] = (refused[code] ?? 0) + 1;
  },
});
const verify = verifyExpress({ amesh: { verifier: () => verifier } });
let handled = 0;
const server = createServer((request, response) =>
  verify(request, response, () => {
    handled++;
    response.end();
  }),
);
server.listen(0, '127.0.0.1');
await once(server, 'listening');
console.log(`port ${(server.address() as AddressInfo).port}`);

for await (const label of createInterface({ input: process.stdin })) {
  server.getConnections((_error, connections) => {
    const rssBytes = process.memoryUsage.rss();
    console.log(`${label} ${JSON.stringify({ rssBytes, connections, refused, handled })}`);
  });
}
process.exit();
