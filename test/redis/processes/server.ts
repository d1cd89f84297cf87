// One instance of a fleet; all it needs to know is in its environment. node server.mjs [<port>]
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAmesh } from '@authmesh/sdk';
import { RedisNonceStore } from '@authmesh/sdk/redis';

process.on('unhandledRejection', (error) => {
  process.stderr.write(`UNHANDLED ${error}\n`);
});
const { CLUSTER, NONCES, SKEW, STALE, AUTHORITY, PREFIX } = process.env;
const nonceStore =
  CLUSTER !== undefined
    ? new RedisNonceStore({ cluster: CLUSTER.split(',') })
    : NONCES !== undefined
      ? new RedisNonceStore(JSON.parse(NONCES))
      : undefined;
const verify = createAmesh({
  nonceStore,
  maxStaleSeconds: STALE === undefined ? undefined : Number(STALE),
}).verify({
  authority: AUTHORITY,
  pathPrefix: PREFIX,
  clockSkewSeconds: SKEW === undefined ? undefined : Number(SKEW),
});
const server = createServer((request, response) => {
  if (request.url === '/health') response.end('ok');
  else verify(request, response, () => request.resume().on('end', () => response.end('passed')));
});
server.keepAliveTimeout = 600_000; // on a busy machine a caller could use a connection again just when it ends
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`);
});
