import type { Context, MiddlewareHandler } from 'hono';
import { together, turnToSign } from '#gather';
import type { AnswerProof } from '../../core/answers/proof';
import { proveHeld } from '../../core/answers/prove-response';
import { isBun, withOwnHeaders } from '../../core/answers/proven-by';
import type { Verifier } from '../../core/verify/verify';
import { dropUnread } from './raw-body';
import { refusal } from './refuse';
import { givenBody, unmadeBody } from './unmade-body';
import { giveBytes, giveStream, honoView, incomingOf } from './view';

/**
 * Verifies the request. Then it sets `authMesh` in the context, replaces `c.req.raw` with a fresh request that has the
 * verified bytes, and continues; or it throws the refusal, as an HTTPException with its `res`.
 *
 * @param verifierOf returns the verifier for the variables and bindings of a request, which on some runtimes contain the settings
 */
export function toHonoMiddleware(verifierOf: (env: unknown) => Verifier): MiddlewareHandler {
  return async (c, next) => {
    const view = honoView(c);
    const verify = () => verifierOf(c.env).verify(view);
    const verdict = await (incomingOf(c) === undefined ? verify() : together(verify));
    if (!verdict.ok) throw refusal(c, verdict);
    if (verdict.stream === undefined) await giveBytes(c, view, verdict.request.body);
    else giveStream(c, view, verdict.stream);
    const isMarked = c.get('authMesh')?.deviceId === verdict.caller.deviceId; // by an outer verify()
    c.set('authMesh', verdict.caller);
    const prepare = (header: SetHeader) => {
      if (!isMarked) markPrivate(header);
      for (const [name, value] of Object.entries(verdict.headers ?? {})) header(name, value);
    };
    prepare(c.header);
    await next();
    const type = verdict.proof && c.res.headers.get('content-type'); // in a copy, Bun forgets the type of a blob
    // A handler that returns its own Response discards the prepared headers.
    if (!c.res.headers.has('cache-control')) prepare(isBun ? inPlace(c) : c.header);
    const incoming = incomingOf(c);
    if (incoming !== undefined && givenBody(c.res) !== undefined) dropUnread(incoming);
    if (verdict.proof !== undefined && c.finalized) await prove(c, verdict.proof, type);
    return undefined;
  };
}

/** Sets or appends a header. */
type SetHeader = Context['header'];

/** For Bun: sets headers without the copies that Hono would make, in which Bun forgets the type of a text. */
function inPlace(c: Context): SetHeader {
  const own = withOwnHeaders(c.res);
  c.res = undefined; // otherwise Hono would copy it
  c.res = own;
  return (name: string, value = '', { append = false } = {}) =>
    append ? own.headers.append(name, value) : own.headers.set(name, value);
}

/** Signs the answer, unless it switches to WebSockets: the server would not recognise a copy of its own response. */
async function prove(c: Context, proof: AnswerProof, type: string | null | undefined): Promise<void> {
  if (c.req.header('upgrade')?.toLowerCase() === 'websocket') return;
  // @hono/node-server would add this type; version 1 does so even if there is no body. On a 304 it would change what a cache has.
  const isUntyped = incomingOf(c) !== undefined && !type && c.res.status !== 304;
  if (isUntyped) c.header('Content-Type', 'text/plain; charset=UTF-8');
  const whole = incomingOf(c) && unmadeBody(c.res);
  if (whole !== undefined) await turnToSign();
  const proven = await proveHeld(c.res, proof, { contentType: type ?? undefined, whole });
  c.res = undefined; // otherwise Hono would copy the headers of the old one
  c.res = proven;
}

/**
 * A shared cache must not serve one caller's response to others. The handler may override this. The directive is appended, since
 * Hono does not show what earlier middleware has set: a `no-store` must stay, and of conflicting directives the strictest applies
 * (RFC 9111 section 4.2.1).
 */
function markPrivate(header: SetHeader): void {
  header('Cache-Control', 'private', { append: true });
  header('Vary', 'Authorization, Signature-Input', { append: true });
}
