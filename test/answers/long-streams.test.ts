import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { allowUnprovenBody, provenBy } from '@authmesh/sdk';
import { addDevice, openDevice } from '@authmesh/sdk/admin';
import { expect, it } from 'vitest';
import { times } from '../support/full';
import { createMachines } from '../support/machines';

/** Ten minutes of events in `npm run soak`. */
const EVENTS = times(100, 500, 60_000);
const EVERY_MS = 10;
const EVENT = `data: ${'x'.repeat(1000)}\n\n`;
/** What may be alive at the end beyond what was alive after a tenth of the events. All of them have 60 MB. */
const MOST_BYTES = 8 * 1_048_576;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

function alive(): number {
  gc();
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

it(
  'a long stream of events has a proven head, arrives whole at a caller that opted in, and is not kept',
  async () => {
    const machines = await createMachines();
    const server = createServer((request, response) =>
      verify(request, response, async () => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (let i = 0; i < EVENTS; i++) {
          if (!response.write(EVENT)) await once(response, 'drain');
          await sleep(EVERY_MS);
        }
        response.end();
      }),
    );
    server.listen(0, 'localhost');
    await once(server, 'listening');
    const host = `localhost:${(server.address() as AddressInfo).port}`;
    const verify = machines.target.verify({ hosts: [host] });
    const { trust } = await openDevice(machines.controllerDir, {});
    const identity = await machines.target.identity();
    await trust.update((list) => addDevice(list, { ...identity, role: 'target', hosts: [host] }, 0));
    try {
      const response = await machines
        .controllerWith({ answers: 'required' })
        .fetch(`http://${host}/`, { [allowUnprovenBody]: true });
      const proof = provenBy(response);
      expect(proof).toMatchObject({ target: identity.deviceId, body: false });
      expect(Object.fromEntries(proof?.headers ?? [])).toEqual({
        'content-type': 'text/event-stream',
        'authmesh-body': 'unsigned',
      });
      let [read, early] = [0, 0];
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        read += chunk.length;
        if (early === 0 && read >= (EVENTS * EVENT.length) / 10) early = alive();
      }
      expect(read).toBe(EVENTS * EVENT.length);
      expect(alive() - early).toBeLessThan(MOST_BYTES);
    } finally {
      server.closeAllConnections();
      server.close();
      await machines.remove();
    }
  },
  30_000 + 3 * EVENTS * EVERY_MS,
);
