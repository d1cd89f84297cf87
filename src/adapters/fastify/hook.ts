import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AuthMeshIdentity } from '../../core/verify/verdict';
import type { Verifier } from '../../core/verify/verify';
import { markPrivate } from '../node/mark-private';
import { refuse } from '../node/refuse';
import type { NodeRequest, NodeResponse } from '../node/request';
import { nodeView } from '../node/view';

/** An `onRequest` hook of Fastify 4 and 5. */
// biome-ignore lint/suspicious/noExplicitAny: Fastify's types differ by the kind of server, and this one is for all.
export type Hook = (request: FastifyRequest<any, any>, reply: FastifyReply<any, any>) => Promise<void>;

/**
 * Verifies before Fastify reads the body, then puts `authMesh` on the request; or answers with the refusal.
 *
 * The bytes go back on `request.raw`: a stream returned by a `preParsing` hook would do for Fastify's own parsers, but
 * not for those that take the raw request, as @fastify/multipart does.
 *
 * @param verifier makes the verdicts. Fastify's `trustProxy` has no say in them: whether it trusts this very peer is
 *   known to Fastify alone
 */
export function toHook(verifier: Verifier): Hook {
  return async (request, reply) => {
    const raw = request.raw as NodeRequest;
    const response = reply.raw as NodeResponse;
    // Fastify mounts nothing: the URL that it routes by is the whole one.
    const seen = { headers: request.headers, baseUrl: '' };
    const verdict = await verifier.verify(nodeView(raw, response, seen));
    if (reply.sent) return; // somebody may have lost patience meanwhile
    if (!verdict.ok) {
      // Not by reply.send(): hooks and serialisers of the application would have a say in it, and the connection may
      // have to be closed with care.
      reply.hijack();
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined) response.setHeader(name, value as string);
      }
      refuse(raw, response, verdict.answer, verdict.bodyUnread);
      return;
    }
    (request as { authMesh?: AuthMeshIdentity }).authMesh = verdict.caller;
    const headers = {
      get: (name: string) => reply.getHeader(name),
      set: (name: string, value: string) => reply.header(name, value),
    };
    markPrivate(headers, verdict.headers);
  };
}
