import { createServer, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

let machines: Machines;
beforeAll(async () => {
  machines = await createMachines();
});
afterAll(() => machines.remove());

/** What stands before the signed bytes, and when it comes. */
const cases: [string, string][] = [
  ['bytes before the signed ones, read while a nonce store in the network is asked', '8\r\nunsigned\r\n'],
  ['the signed bytes a second time', ''],
];

it.each(cases)('%s, reach no handler', async (_what, early) => {
  const read: string[] = [];
  machines.refusals.length = 0;
  const nonceStore = { claim: () => sleep(200).then(() => true) };
  const verify = machines.target.verify({ nonceStore });
  const server = await listen(
    createServer((request: IncomingMessage, response) => {
      // As code does that turns it into a `Request`.
      const stream = Readable.toWeb(request) as ReadableStream;
      verify(request, response, async () => {
        read.push(await new Response(stream).text());
        response.end();
      });
    }),
  );
  const { line, headers } = await signedRaw(machines.signer, server.authority, {
    method: 'POST',
    body: 'signed',
  });
  const client = await RawClient.connect(server.port);
  client.write(head(line, [...headers, 'Transfer-Encoding: chunked']), early);
  await sleep(400);
  client.write('6\r\nsigned\r\n0\r\n\r\n');
  const { status } = await client.response();
  client.destroy();
  await server.close();
  expect(read).toEqual([]);
  expect(status).toBe(500);
  expect(machines.refusals.map(({ code }) => code)).toEqual(['body_parser_ordering_error']);
});
