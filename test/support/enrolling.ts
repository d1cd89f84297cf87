import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Amesh, type AmeshOptions, createAmesh, type VerifyOptions } from '@authmesh/sdk';
import { createIdentity, type Device, type GrantOptions, issueGrant, openDevice } from '@authmesh/sdk/admin';
import type { Rejection } from '@authmesh/sdk/core';
import { type Listening, listen } from './listen';

/** A target that enrols callers, with a real server in front of it. */
export interface EnrollingTarget extends Listening {
  readonly dir: string;
  readonly device: Device;
  readonly amesh: Amesh;
  /** Why it has refused, oldest first. */
  readonly rejections: Rejection[];
  /** The bodies of the enrolments that came, oldest first. */
  readonly captured: string[];
  grant(options?: Partial<GrantOptions>): Promise<{ token: string; id: string }>;
  list(): ReturnType<Device['trust']['read']>;
}

export interface Enrolling {
  readonly root: string;
  target(verify?: VerifyOptions): Promise<EnrollingTarget>;
  /** A machine with an empty folder and nothing but a token. */
  caller(token: string, options?: AmeshOptions): Amesh;
  remove(): Promise<void>;
}

export async function createEnrolling(): Promise<Enrolling> {
  const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  const servers: Listening[] = [];
  let count = 0;
  return {
    root,
    async target(verifyOptions = { enroll: true }) {
      const dir = join(root, `target-${count++}`);
      await createIdentity(dir, {}, { friendlyName: 'api' });
      const device = await openDevice(dir, {});
      const rejections: Rejection[] = [];
      const captured: string[] = [];
      const amesh = createAmesh({
        dir,
        env: {},
        onReject: (rejection) => void rejections.push(rejection as Rejection),
      });
      const verify = amesh.verify(verifyOptions);
      const server = await listen((request, response) => {
        if (request.url === '/.well-known/amesh/enroll') {
          const chunks: Buffer[] = [];
          const { push } = request;
          request.push = (chunk, encoding) => {
            if (chunk !== null) chunks.push(Buffer.from(chunk));
            else captured.push(Buffer.concat(chunks).toString());
            return push.call(request, chunk, encoding);
          };
        }
        verify(request, response, () => void response.end('passed'));
      });
      servers.push(server);
      return {
        ...server,
        dir,
        device,
        amesh,
        rejections,
        captured,
        async grant(options = {}) {
          const { token, grant } = await issueGrant(device, {
            names: 'worker-*',
            uses: 50,
            leaseSeconds: 86_400,
            maxLeaseSeconds: 2_592_000,
            ...options,
          });
          return { token, id: grant.id };
        },
        list: () => device.trust.read(),
      };
    },
    caller: (token, options = {}) =>
      createAmesh({
        dir: join(root, `caller-${count++}`),
        env: { AMESH_BOOTSTRAP_TOKEN: token },
        ...options,
      }),
    async remove() {
      for (const server of servers) await server.close();
      await rm(root, { recursive: true, maxRetries: 20 });
    },
  };
}
