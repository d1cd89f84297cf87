import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type Amesh, type AmeshOptions, createAmesh, type Refusal, type VerifyOptions } from '@authmesh/sdk';
import { addDevice, createIdentity, type Device, openDevice } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type Listening, listen } from './listen';

/** What a handler has received behind `verify()`. */
export interface Arrived {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly caller: string;
}

export type Handle = (arrived: Arrived, response: ServerResponse) => unknown;

const answerOk: Handle = (_arrived, response) => void response.end('ok');

/** A caller and a target, each with a folder of its own: each trusts the other. */
export interface KnownTarget {
  readonly caller: Device;
  readonly device: Device;
  readonly callerDir: string;
  /** Another instance of the caller's folder. */
  callerWith(options?: AmeshOptions): Amesh;
  /** Another instance of the target's folder. */
  targetWith(options?: AmeshOptions): Amesh;
  /** Adds a host to those that the caller knows the target by. */
  know(authority: string): Promise<void>;
  /**
   * A real server of the target behind `verify()`, which the caller knows by its port, unless it is not listed. An instance
   * that has read the list before sees it a quarter of a second later.
   *
   * @param handle answers; default: `ok`
   * @param front what sees a request before `verify()` does; it answers by itself if it returns true
   */
  serve(how?: {
    readonly handle?: Handle;
    readonly verify?: VerifyOptions;
    readonly isListed?: boolean;
    front?(request: IncomingMessage, response: ServerResponse): boolean;
  }): Promise<Served>;
}

export interface Served extends Listening {
  /** What handlers have received, oldest first. */
  readonly arrived: Arrived[];
  /** All requests, as they came, before `verify()`. */
  readonly came: IncomingMessage[];
  /** Why some were refused. */
  readonly refusals: Refusal[];
}

export function useKnownTarget(): KnownTarget {
  let root: string;
  let caller: Device;
  let device: Device;
  const servers: Listening[] = [];
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    for (const name of ['caller', 'target'])
      await createIdentity(join(root, name), {}, { friendlyName: name });
    [caller, device] = [
      await openDevice(join(root, 'caller'), {}),
      await openDevice(join(root, 'target'), {}),
    ];
    const scopes = ['orders:*'];
    await device.trust.update((draft) =>
      addDevice(draft, { ...caller.identity, role: 'controller', hosts: [], scopes }, 0),
    );
  });
  beforeEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });
  afterAll(async () => {
    for (const server of servers.splice(0)) await server.close();
    await rm(root, { recursive: true, maxRetries: 20 });
  });
  const targetWith = (options: AmeshOptions = {}) =>
    createAmesh({ dir: join(root, 'target'), env: {}, onRefusal: () => {}, ...options });

  const hosts: string[] = [];
  async function know(host: string): Promise<void> {
    hosts.push(host);
    await caller.trust.update((draft) =>
      addDevice(draft, { ...device.identity, role: 'target', hosts: hosts.slice(-20) }, 0),
    );
  }

  return {
    get caller() {
      return caller;
    },
    get device() {
      return device;
    },
    get callerDir() {
      return join(root, 'caller');
    },
    callerWith: (options) => createAmesh({ dir: join(root, 'caller'), env: {}, ...options }),
    targetWith,
    know,
    async serve({ handle = answerOk, verify, isListed = true, front } = {}) {
      const refusals: Refusal[] = [];
      const arrived: Arrived[] = [];
      const came: IncomingMessage[] = [];
      const guard = targetWith({ onRefusal: (refusal) => void refusals.push(refusal as Refusal) }).verify(
        verify,
      );
      const listener: RequestListener = (request, response) => {
        came.push(request);
        if (front?.(request, response)) return;
        guard(request, response, async () => {
          const { method = '', url = '', headers } = request;
          const { friendlyName } = (request as never as { authMesh: { friendlyName: string } }).authMesh;
          const body = await buffer(request).catch(() => null);
          if (body === null) return; // the client has gone
          const one = { method, target: url, headers, body, caller: friendlyName };
          arrived.push(one);
          await handle(one, response);
        });
      };
      const server = await listen(listener);
      servers.push(server);
      if (isListed) await know(server.authority);
      return { ...server, arrived, came, refusals };
    },
  };
}
