import type { Signer } from '../core/crypto/provider';
import { createPreparer } from '../core/sign/client';
import { readOptions } from '../core/sign/options';
import type { ClientRefusal } from '../core/sign/refusal';
import { toUnsent } from '../core/sign/unsent/sign-unsent';
import { isRequest } from '../core/wire/view';
import type { Calls } from '../machine/calls';
import type { AppFetch } from './app/app-fetch';
import type { MeshParts } from './mesh-parts';

/** How a sender sends. */
interface SenderOptions {
  /** Sends to an app in memory; null: to the network. */
  readonly app: AppFetch | null;
  /** Whether it calls the machine of the mesh, whatever the URL is. */
  readonly callsMachine: boolean;
  /** Like the option of `createAmesh()`. */
  readonly onRefusal?: ((refusal: ClientRefusal) => void) | undefined;
}

/** A sender with a key of its own. */
export function createSender(
  parts: MeshParts,
  signer: Signer,
  { app, callsMachine, onRefusal }: SenderOptions,
): Calls {
  const { url, list, publicKey } = parts;
  const machine = { deviceId: list.deviceId, publicKey };
  const settings = readOptions({
    signer,
    targetOf: () => (callsMachine ? machine : undefined),
    answers: parts.answers,
    fetch: app === null ? parts.fetch : fetchOf(app, url),
    onRefusal,
    now: parts.clock.now,
  });
  const prepare = createPreparer(settings);
  const resolve = (path: string | URL) => new URL(path, url);
  return {
    fetch: async (input, init) => (await prepare(isRequest(input) ? input : resolve(input), init)).send(),
    sign: async (input, options) => {
      const request = isRequest(input) ? input : { ...input, url: resolve(input.url) };
      const signed = await (await toUnsent(settings, request, options)).sign();
      const { host } = new URL(signed.url);
      return { ...signed, headers: [['host', host], ...signed.headers] };
    },
  };
}

/** A `fetch` that only sends to an app. */
export function fetchOf(app: AppFetch, origin: string): typeof globalThis.fetch {
  return async (input, init = {}) => {
    const url = new URL(String(input));
    if (url.origin === origin) return app(url, init);
    throw new TypeError(
      `Nothing was sent: the app in memory is called at ${origin}, and not at ${url.origin}. Create the mesh with that url.`,
    );
  };
}
