import { afterAll, beforeAll } from 'vitest';
import { startRelay, type TestRelay } from '../relay/client';

/** Where the relay of a test file is, once its tests run. */
export interface RelayInUse {
  readonly port: number;
  readonly url: string;
}

/** A relay with room for a whole test file that comes from one address; closed after its last test. */
export function useRelay(): RelayInUse {
  let running: TestRelay;
  beforeAll(async () => {
    running = await startRelay({
      limits: { socketsPerAddress: 1000, listensPerMinute: 1000, failedJoinsPerMinute: 1000 },
    });
  });
  afterAll(() => running.relay.close());
  return {
    get port() {
      return running.port;
    },
    get url() {
      return `ws://127.0.0.1:${running.port}/ws`;
    },
  };
}
