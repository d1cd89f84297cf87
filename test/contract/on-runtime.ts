import { describe } from 'vitest';
import { requireRuntime, startServer } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { contractOf, type ServerKind } from './contract';

/** The contract of one of servers/ on a runtime other than the one that the tests run on. */
export async function contractOn(
  name: Runtime['name'],
  server: 'hono' | 'fetch',
  quirks: Omit<ServerKind, 'name' | 'start'> = {},
): Promise<void> {
  const runtime = await requireRuntime(name);
  const title = `${server === 'hono' ? 'Hono' : 'a fetch handler'} on ${name} ${runtime?.version ?? ''}`;
  describe.skipIf(runtime === null)(title, () =>
    contractOf({
      ...quirks,
      name: title,
      start: () => startServer(runtime as Runtime, `test/contract/servers/${server}.ts`),
    }),
  );
}
