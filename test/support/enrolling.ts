import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Amesh, type AmeshOptions, createAmesh, type VerifyOptions } from '@authmesh/sdk';
import { createIdentity, type Device, type GrantOptions, issueGrant, openDevice } from '@authmesh/sdk/admin';
import { type Refusal, type Signer, toBase64Url } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { documentOf, type ListDocument } from './list-document';
import { type Listening, listen } from './listen';
import { claimsOf } from './tokens';

export const ENROLMENT_PATH = '/.well-known/amesh/enroll';

/** A key that nobody knows. */
export async function stranger(): Promise<Signer> {
  return nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
}

/**
 * The body of an enrolment by a grant, as right as its caller's own client would make it, but for what is changed.
 *
 * @param authority where it is to be sent
 * @param signers who signs in the place of the grant and of the caller
 */
export async function forgeEnrolment(
  token: string,
  authority: string,
  change: Record<string, unknown> = {},
  signers: { readonly grant?: Signer; readonly caller?: Signer } = {},
): Promise<string> {
  const claims = claimsOf(token);
  const key = await stranger();
  const facts = {
    grant: claims.jti,
    key: toBase64Url(key.publicKey),
    name: 'worker-1',
    target: claims.iss,
    authority,
    time: Math.floor(Date.now() / 1000),
    nonce: toBase64Url(nodeCrypto.randomBytes(16)),
    ...change,
  };
  const grant = signers.grant ?? (await nodeCrypto.importPrivateKey(claims.jwk));
  // "Enrolments" in docs/protocol.md: the facts, and two signatures of them.
  const payload = Buffer.from(JSON.stringify(facts)).toString('base64url');
  const message = Buffer.from(`amesh enrolment v1\n${payload}`);
  const signatures = await Promise.all([grant, signers.caller ?? key].map((signer) => signer.sign(message)));
  return [payload, ...signatures.map(toBase64Url)].join('.');
}

/** Sends an enrolment as it is. */
export function sendEnrolment(origin: string, body: string): Promise<Response> {
  return fetch(origin + ENROLMENT_PATH, { method: 'POST', body });
}

/** A target that enrols callers, with a real server in front of it. */
export interface EnrollingTarget extends Listening {
  readonly dir: string;
  readonly device: Device;
  readonly amesh: Amesh;
  /** Why it has refused, oldest first. */
  readonly refusals: Refusal[];
  /** The bodies of the enrolments that came, oldest first. */
  readonly captured: string[];
  grant(options?: Partial<GrantOptions>): Promise<{ token: string; id: string }>;
  list(): Promise<ListDocument>;
}

export interface Enrolling {
  readonly root: string;
  /** @param options of its instance, beside its folder and log */
  target(verify?: VerifyOptions, options?: AmeshOptions): Promise<EnrollingTarget>;
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
    async target(verifyOptions = { enroll: true }, options = {}) {
      const dir = join(root, `target-${count++}`);
      const env = (options.env ?? {}) as Record<string, string>;
      await createIdentity(dir, env, { friendlyName: 'api' });
      const device = await openDevice(dir, env);
      const refusals: Refusal[] = [];
      const captured: string[] = [];
      const amesh = createAmesh({
        dir,
        env,
        onRefusal: (refusal) => void refusals.push(refusal as Refusal),
        ...options,
      });
      const verify = amesh.verify(verifyOptions);
      const server = await listen((request, response) => {
        if (request.url === ENROLMENT_PATH) {
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
        refusals,
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
        list: () => documentOf(device.trust),
      };
    },
    caller: (token, options = {}) =>
      createAmesh({
        answers: 'off', // what a target refuses is not proven to a caller that it does not know: see test/answers
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
