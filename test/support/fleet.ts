import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addDevice, createIdentity, type Device, openDevice } from '@authmesh/sdk/admin';
import { type Signer, signRequest } from '@authmesh/sdk/core';
import { type Child, type Script, toScript } from './child';
import { SOON } from './waiting';

/** The name under which all instances are called, whatever their ports. */
export const HOST = 'api.example.com';

/** A signed request as somebody on the way would have recorded it. */
export interface Captured {
  readonly headers: Readonly<Record<string, string>>;
}

/** Several processes behind one name, and a caller whom they trust. */
export interface Fleet {
  readonly root: string;
  readonly targetDir: string;
  readonly callerId: string;
  readonly signer: Signer;
  readonly servers: readonly Child[];
  /** Starts one more. */
  start(env?: Readonly<Record<string, string>>): Promise<Child>;
  /** @param created Unix seconds; default now */
  sign(created?: number): Promise<Captured>;
  /** Sends it to one instance. Gives status and body. */
  send(to: Child, captured: Captured): Promise<string>;
  /** Signs and sends; what a client does once more where its time was refused, this does too. */
  call(to: Child): Promise<string>;
  /** The same again until Redis has answered that instance in time, which on a busy machine it does not at once. */
  verdict(of: Child): Promise<string>;
  portOf(server: Child): number;
  /** The target as an administrator opens it. */
  open(): Promise<Device>;
  /** The public key of the target, 44 characters. */
  readonly ownerKey: string;
  stop(): Promise<void>;
}

/**
 * @param env of each instance, beside folder and host
 * @param missing packages that they do not find
 */
export async function startFleet(
  size: number,
  env: Readonly<Record<string, string>>,
  missing: string[] = [],
): Promise<Fleet> {
  const root = await mkdtemp(join(tmpdir(), 'amesh-fleet-'));
  const [callerDir, targetDir] = [join(root, 'caller'), join(root, 'target')];
  const caller = await createIdentity(callerDir, {}, { friendlyName: 'caller' });
  const { AMESH_STORE_URL } = env;
  const { publicKey } = await createIdentity(targetDir, { AMESH_STORE_URL }, { friendlyName: 'api' });
  const target = await openDevice(targetDir, { AMESH_STORE_URL });
  await target.trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
  const { signer } = await openDevice(callerDir, {});
  const script: Script = await toScript('test/redis/processes/server.ts', missing);
  const agent = new Agent({ keepAlive: true });
  const servers: Child[] = [];
  const ports = new Map<Child, number>();

  const fleet: Fleet = {
    root,
    targetDir,
    callerId: caller.deviceId,
    signer,
    servers,
    async start(more = {}) {
      const child = script.start([], {
        env: { AUTH_MESH_DIR: targetDir, AMESH_HOSTS: HOST, ...env, ...more },
      });
      servers.push(child);
      ports.set(child, Number(await child.line('port ')));
      return child;
    },
    async sign(created) {
      const signed = await signRequest(new Request(`http://${HOST}/`), signer, { created });
      return { headers: Object.fromEntries(signed.headers) };
    },
    send: (to, { headers }) =>
      new Promise((resolve, reject) => {
        const sent = request(
          { host: '127.0.0.1', port: ports.get(to), agent, headers: { ...headers, host: HOST } },
          (response) => {
            let body = '';
            response.setEncoding('utf8');
            response.on('data', (chunk) => {
              body += chunk;
            });
            response.on('end', () => resolve(`${response.statusCode} ${body}`));
          },
        );
        sent.on('error', reject);
        sent.end();
      }),
    async call(to) {
      const answer = await fleet.send(to, await fleet.sign());
      if (answer !== '401 {"error":"timestamp_out_of_range"}') return answer;
      return fleet.send(to, await fleet.sign());
    },
    async verdict(of) {
      return askUntil(
        () => fleet.call(of),
        (answer) => !answer.startsWith('503 '),
      );
    },
    portOf: (server) => ports.get(server) as number,
    open: () => openDevice(targetDir, { AMESH_STORE_URL }),
    ownerKey: publicKey,
    async stop() {
      for (const server of servers) server.kill('SIGKILL');
      await Promise.all(servers.map((server) => server.ended));
      agent.destroy();
      script.remove();
      await rm(root, { recursive: true, maxRetries: 20 });
    },
  };
  await Promise.all(Array.from({ length: size }, () => fleet.start()));
  return fleet;
}

/** Asks again until the answer is this one, for some seconds at most; gives the last answer. */
export function until(expected: string, ask: () => Promise<string>, waitMs = SOON): Promise<string> {
  return askUntil(ask, (answer) => answer === expected, waitMs);
}

async function askUntil(
  ask: () => Promise<string>,
  isIt: (answer: string) => boolean,
  waitMs = SOON,
): Promise<string> {
  // Less and less often: who asks all the time takes the core of those whose answer it waits for.
  for (let [pauseMs, endsAt] = [10, Date.now() + waitMs]; ; pauseMs = Math.min(100, pauseMs * 1.5)) {
    const answer = await ask();
    if (isIt(answer) || Date.now() > endsAt) return answer;
    await sleep(pauseMs);
  }
}
