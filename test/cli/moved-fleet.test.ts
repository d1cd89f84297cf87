import { once } from 'node:events';
import { request } from 'node:http';
import { createServer, type RequestOptions, request as requestTls, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, issueAnswerKey, openDevice } from '@authmesh/sdk/admin';
import { provenBy, signRequest } from '@authmesh/sdk/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { signRotation } from '../../src/core/rotation/rotation';
import { createCertificate } from '../support/certificate';
import type { Child } from '../support/child';
import { type Fleet, HOST, until } from '../support/fleet';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { SOON } from '../support/waiting';
import { Deployment, type Move, PASSED, prepare, SIZE, type Variables } from './deployment';

/** A proxy that ends TLS in front of the instances, with a certificate for their name. */
class TlsFront {
  readonly #server: Server;
  readonly #cert: string;

  private constructor(fleet: Fleet, instance: () => Child) {
    const { key, cert } = createCertificate(HOST);
    this.#cert = cert;
    this.#server = createServer({ key, cert }, (incoming, outgoing) => {
      const { method, url: path, headers } = incoming;
      const to = { host: '127.0.0.1', port: fleet.portOf(instance()), method, path, headers };
      const forwarded = request(to, (response) => {
        outgoing.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(outgoing);
      });
      forwarded.on('error', () => outgoing.destroy());
      incoming.pipe(forwarded);
    });
  }

  static async open(fleet: Fleet, instance: () => Child): Promise<TlsFront> {
    const front = new TlsFront(fleet, instance);
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    return front;
  }

  /** `fetch` to it, which checks the certificate. */
  readonly fetch: typeof fetch = async (input, init) => {
    const { port } = this.#server.address() as AddressInfo;
    return fetchWith(requestTls, input, init, { port, servername: HOST, ca: this.#cert });
  };

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** `fetch` to one instance of a fleet, whatever the URL says. */
function fetchFrom(fleet: Fleet, instance: () => Child): typeof fetch {
  return (input, init) => fetchWith(request, input, init, { port: fleet.portOf(instance()) });
}

async function fetchWith(
  send: typeof requestTls | typeof request,
  input: Parameters<typeof fetch>[0],
  init: RequestInit | undefined,
  place: RequestOptions,
): Promise<Response> {
  const sent = new Request(input, init);
  const headers = { ...Object.fromEntries(sent.headers), host: HOST };
  const { pathname: path } = new URL(sent.url);
  const to = { host: '127.0.0.1', ...place, method: sent.method, path, headers };
  return new Promise((resolve, reject) => {
    const outgoing = send(to, async (incoming) => {
      const { statusCode: status = 0, headersDistinct } = incoming;
      const lines = Object.entries(headersDistinct).flatMap(([name, values = []]) =>
        values.map((value): [string, string] => [name, value]),
      );
      const body = await buffer(incoming);
      resolve(new Response(new Uint8Array(body), { status, headers: lines }));
    });
    outgoing.on('error', reject).end();
  });
}

/** Callers over http, whose answers have to be proven, and callers over TLS and others that ask for no proof. */
class ProvenDeployment extends Deployment {
  /** Over http, its answers all have to be proven. */
  unproven = 0;
  overTls = 0;
  #to: Child | undefined;
  readonly #amesh: Amesh;
  readonly #overTls: Promise<{ readonly front: TlsFront; readonly amesh: Amesh }>;

  constructor(fleet: Fleet, target: string) {
    super(fleet, target);
    const instance = () => this.#to as Child;
    const dir = join(fleet.root, 'caller');
    this.#amesh = createAmesh({ dir, env: {}, fetch: fetchFrom(fleet, instance) });
    this.#overTls = TlsFront.open(fleet, instance).then((front) => ({
      front,
      amesh: createAmesh({ dir, env: {}, fetch: front.fetch }),
    }));
  }

  override async send(to: Child): Promise<string> {
    const unasked = await super.send(to);
    return unasked === PASSED ? this.#prove(to) : unasked;
  }

  override async end(least = 0): Promise<void> {
    await super.end(least);
    await (await this.#overTls).front.close();
  }

  /** One request after the other: which instance is called is no part of the URL. */
  #last: Promise<unknown> = Promise.resolve();
  #prove(to: Child): Promise<string> {
    const next = this.#last.then(async () => {
      this.#to = to;
      if (this.sent % 2 === 0) {
        const { amesh } = await this.#overTls;
        const overTls = await amesh.fetch(`https://${HOST}/`);
        this.overTls++;
        return `${overTls.status} ${await overTls.text()}`;
      }
      const response = await this.#amesh.fetch(`http://${HOST}/`);
      if (provenBy(response)?.body !== true) this.unproven++;
      return `${response.status} ${await response.text()}`;
    });
    this.#last = next.catch(() => {});
    return next;
  }
}

describeWithRedis('a fleet whose list moves, under callers that ask for proofs', { timeout: 600_000 }, () => {
  let redis: RedisServer;
  let store: Variables;
  let move: Move;
  let deployment: ProvenDeployment;
  let keys: { former: string; next: string };
  const dirOf = (i: number) => ({ AUTH_MESH_DIR: join(move.fleet.root, `i${i}`) });

  beforeAll(async () => {
    redis = await startRedis();
    store = { AMESH_STORE_URL: redis.url };
    move = await prepare(store);
    const { fleet, list, owner } = move;
    const target = await fleet.open();
    const next = await openDevice(move.admin.dir, {});
    keys = {
      former: (await issueAnswerKey(target.signer, { lifetimeSeconds: 3600 })).text,
      next: (await issueAnswerKey(next.signer, { lifetimeSeconds: 3600 })).text,
    };
    const caller = await openDevice(join(fleet.root, 'caller'), {});
    await caller.trust.update((draft) =>
      addDevice(draft, { ...target.identity, role: 'target', hosts: [HOST] }, 0),
    );
    deployment = new ProvenDeployment(fleet, list);
    const env = { ...store, AMESH_OWNER_KEY: owner, AMESH_ANSWER_KEY: keys.former };
    await deployment.deploy((i) => ({ ...env, ...dirOf(i) }));
    deployment.begin();
  }, 600_000);
  afterAll(async () => {
    await deployment?.end();
    await move?.fleet.stop();
    await redis?.stop();
  });

  const keysOfTarget = async () => {
    const { trust } = await openDevice(join(move.fleet.root, 'caller'), {});
    return (await trust.read()).entry(move.list)?.keys ?? [];
  };

  it('costs no request and no proof, from the first redeployment to the last', async () => {
    const both = { ...store, AMESH_OWNER_KEY: `${move.owner},${move.next}` };
    await deployment.deploy((i) => ({ ...both, AMESH_ANSWER_KEY: keys.former, ...dirOf(i) }));
    const handed = await move.former.amesh(['trust', 'hand-over', move.next], { env: both });
    expect(handed.code, handed.stderr).toBe(0);
    const command = ['trust', 'take-over', '--hand-over', handed.stdout.trim(), '--yes'];
    const taken = await move.admin.amesh(command, { env: both });
    expect(taken.code, taken.stderr).toBe(0);
    expect(taken.stderr).toContain('follow this machine to its key');
    const alone = { ...store, AMESH_OWNER_KEY: move.next, AMESH_DEVICE_ID: move.list };
    // The last one has the folder of the next owner, and signs answers with that key itself.
    await deployment.deploy((i) =>
      i === SIZE - 1
        ? { ...alone, AUTH_MESH_DIR: move.admin.dir }
        : { ...alone, AMESH_ANSWER_KEY: keys.next, ...dirOf(i) },
    );
    await deployment.end(50);
    expect(deployment.refused).toEqual([]);
    expect(deployment.unproven).toBe(0);
    expect(deployment.overTls).toBeGreaterThan(20);
    console.log(`${deployment.sent} requests with and without a wish for a proof, none refused or unproven`);
    expect((await keysOfTarget()).map(({ publicKey }) => publicKey)).toEqual([move.owner, move.next]);
  });

  it('needs the hand-over, and accepts no other one', async () => {
    const both = { ...store, AMESH_OWNER_KEY: `${move.owner},${move.next}` };
    const again = ['trust', 'take-over', '--yes', '--hand-over'];
    const former = await move.former.amesh(['trust', 'hand-over', move.next], { env: both });
    expect(former.stderr).toContain('taken over by its next owner');
    for (const line of ['', 'amesh_hand_over_x', keys.former]) {
      const ran = await move.admin.amesh([...again, line], { env: both });
      expect(ran.code, ran.stderr).not.toBe(0);
    }
    const own = await move.admin.amesh(['trust', 'hand-over', move.next], { env: both });
    expect(own.stderr).toContain("This is this machine's own key.");
  });

  it('answers `unavailable` to the next key of a caller, from an instance that only reads', async () => {
    const made = await createIdentity(join(move.fleet.root, 'rotated'), {}, { friendlyName: 'caller' });
    const { signer: next } = await openDevice(join(move.fleet.root, 'rotated'), {});
    expect(made.deviceId).not.toBe(move.fleet.callerId);
    for (const server of deployment.active.slice(0, -1)) {
      const { signer: former } = move.fleet;
      const statement = { former, next, targetId: move.list, nowMs: Date.now() };
      const headers = { 'authmesh-rotation': await signRotation(statement) };
      const unsigned = new Request(`http://${HOST}/`, { headers });
      const signed = await signRequest(unsigned, former, { targetDeviceId: move.list });
      const response = await fetchFrom(move.fleet, () => server)(signed);
      expect(response.headers.get('authmesh-rotation')).toBe('unavailable');
    }
  });

  it('accepts the ID of each of its owners', async () => {
    const { deviceId } = await (await openDevice(move.admin.dir, {})).identity;
    for (const id of [move.list, deviceId]) {
      const to = new Deployment(move.fleet, id);
      expect(await until(PASSED, () => to.send(deployment.active[0] as Child), SOON)).toBe(PASSED);
    }
  });
});
