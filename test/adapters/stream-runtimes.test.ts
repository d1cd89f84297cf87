import type { Signer } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { type RuntimeServer, requireRuntime, serverRuntimes, startServer } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { send, type Upload } from '../support/upload';

const MIB = 1_048_576;

describe.each(serverRuntimes.filter((runtime) => runtime !== 'node'))(
  'bodies that are streamed by a fetch handler on %s',
  async (name) => {
    const runtime = await requireRuntime(name);
    describe.skipIf(runtime === null)(runtime?.version ?? 'not installed', () => {
      let server: RuntimeServer;
      let signer: Signer;
      beforeAll(async () => {
        signer = await signerOf('controller');
        server = await startServer(
          runtime as Runtime,
          `test/adapters/servers/${name === 'workerd' ? 'worker-' : ''}stream.ts`,
        );
      });
      afterAll(() => server?.close());

      const upload = (body: Upload) => send(signer, server.port, body);
      const last = async () => (await fetch(`http://127.0.0.1:${server.port}/`)).json();

      it('64 MiB pass, in chunks', async () => {
        const response = await upload({ bytes: 64 * MIB });
        expect(response?.status).toBe(200);
        const seen = JSON.parse(response?.body ?? '');
        expect(seen).toMatchObject({ bytes: 64 * MIB, outcome: 'end' });
        expect(seen.largest).toBeLessThan(8 * MIB);
      });

      it('tampered-body: if the last byte of 64 MiB is changed, the stream ends with an error', async () => {
        await upload({ bytes: 64 * MIB, flipsLastByte: true });
        const seen = (await last()) as { bytes: number; outcome: string };
        expect(seen.outcome).toBe('content_digest_mismatch');
        expect(seen.bytes).toBeLessThan(64 * MIB);
      });

      it('a client that leaves in the middle of the body', async () => {
        await upload({ bytes: 8 * MIB, sendsOnly: 3 * MIB });
        await expect.poll(async () => ((await last()) as { outcome: string }).outcome).not.toBe('end');
        expect((await upload({ bytes: 100_000 }))?.status).toBe(200);
        expect(await last()).toMatchObject({ bytes: 100_000, outcome: 'end' });
      });
    });
  },
);
