import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RuntimeServer, requireRuntime, startServer } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { ask } from './web-servers';

describe('the answers of Express on Bun', async () => {
  const runtime = await requireRuntime('bun');
  describe.skipIf(runtime === null)(runtime?.version ?? 'not installed', () => {
    let server: RuntimeServer;
    beforeAll(async () => {
      server = await startServer(runtime as Runtime, 'test/answers/servers/node-app.ts');
    });
    afterAll(() => server?.close());

    it.each([
      ['/text', 'proven', 200, 'text'],
      ['/cookies', 'proven', 200, '{"a":1}', 'set-cookie'],
      ['/none', 'proven', 204, ''],
      ['/redirect', 'proven', 302, 'Found. Redirecting to /text', 'location'],
      ['/head', 'proven', 201, 'made'],
      ['/pieces', 'proven', 200, 'abcdef'],
      ['/events', 'stream', 200, 'data: 1\n\n'],
      ['/sent', 'proven', 200, 'sent'],
      ['/nowhere', 'proven', 404],
    ] as const)('%s: %s', async (target, proof, status, text?: string, covered?: string) => {
      const answer = await ask(server.port, target);
      expect(answer).toMatchObject({ status, proof, ...(text !== undefined && { text }) });
      if (covered !== undefined) expect(answer.covered).toContain(covered);
    });

    it.each(['/text', '/pieces'])('%s: proven, and compressed in front of verify()', async (target) => {
      expect(await ask(server.port, target, { headers: { 'accept-encoding': 'gzip' } })).toMatchObject({
        proof: 'proven',
        status: 200,
      });
    });

    it('look as if they had been sent', async () => {
      await ask(server.port, '/sent');
      const { text } = await ask(server.port, '/seen');
      expect(JSON.parse(text)).toEqual({
        headersSent: true,
        writableEnded: true,
        late: 'ERR_HTTP_HEADERS_SENT',
      });
    });

    it('are the same as without a proof for callers that do not ask', async () => {
      const refused = await fetch(`http://127.0.0.1:${server.port}/text`);
      expect([refused.status, refused.headers.get('signature')]).toEqual([401, null]);
    });
  });
});
