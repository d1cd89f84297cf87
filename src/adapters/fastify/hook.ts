import type { FastifyReply, FastifyRequest } from 'fastify';
import { together } from '#gather';
import type { AuthMeshIdentity } from '../../core/verify/verdict';
import type { Verifier } from '../../core/verify/verify';
import { expectWhole, proveAnswer } from '../node/answers/prove-answer';
import { refuse } from '../node/answers/refuse';
import { markPrivate } from '../node/mark-private';
import { isOver, type NodeRequest, type NodeResponse } from '../node/request';
import { nodeView } from '../node/view';

/** An `onRequest` hook of Fastify 4 and 5. */
// biome-ignore lint/suspicious/noExplicitAny: Fastify's types differ by the kind of server, and this one is for all.
export type Hook = (request: FastifyRequest<any, any>, reply: FastifyReply<any, any>) => Promise<void>;

/**
 * Verifies before Fastify reads the body. Then it puts `authMesh` on the request, or sends the refusal.
 *
 * The bytes go back on `request.raw`. A stream from a `preParsing` hook would work for Fastify's own parsers, but not for
 * those that read the raw request, such as @fastify/multipart.
 *
 * @param verifier decides. It ignores Fastify's `trustProxy`: only Fastify knows whether that includes this peer
 */
export function toHook(verifier: Verifier): Hook {
  return async (request, reply) => {
    const raw = request.raw as NodeRequest;
    const response = reply.raw as NodeResponse;
    // Fastify has no mounts: it routes by the whole URL.
    const seen = { headers: request.headers, baseUrl: '' };
    const view = nodeView(raw, response, seen);
    const verdict = await together(() => verifier.verify(view));
    if (reply.sent) return; // a timeout may have answered in the meantime
    if (verdict.ok && isOver(response)) {
      reply.hijack(); // no handler runs
      return;
    }
    if (!verdict.ok) {
      // Not reply.send(): the application's hooks and serialisers could change it, and the connection may need careful
      // closing.
      reply.hijack();
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined) response.setHeader(name, value as string);
      }
      refuse(raw, response, verdict);
      return;
    }
    (request as { authMesh?: AuthMeshIdentity }).authMesh = verdict.caller;
    const headers = {
      get: (name: string) => reply.getHeader(name),
      set: (name: string, value: string) => reply.header(name, value),
    };
    markPrivate(headers, verdict.headers);
    if (verdict.proof === undefined) return;
    proveAnswer(raw, response, verdict.proof);
    noteWhole(reply, response);
  };
}

/**
 * Notes which payloads are complete. @fastify/compress turns them into streams, in a hook that may run before or after ours.
 */
// biome-ignore lint/suspicious/noExplicitAny: Fastify's types differ by the kind of server, and this one is for all.
function noteWhole(reply: FastifyReply<any, any>, response: NodeResponse): void {
  const { send } = reply;
  reply.send = (payload) => {
    const { pipe, getReader, headers } = Object(payload) as Record<string, unknown>;
    if ([pipe, getReader].every((method) => typeof method !== 'function') && headers === undefined)
      expectWhole(response);
    return send.call(reply, payload);
  };
}
