/** Says the path as it was sent, where a gateway hands on a decoded one. */
const PATH_HEADER = 'authmesh-path';

/** What is read of an event of API Gateway. */
interface GatewayEvent {
  readonly version?: unknown;
  readonly path?: unknown;
  readonly rawPath?: unknown;
  readonly rawQueryString?: unknown;
  readonly headers?: Readonly<Record<string, unknown>> | null;
  readonly pathParameters?: object | null;
  readonly requestContext?: { readonly domainName?: unknown } | null;
}

/**
 * An event of Lambda with the path and the query that the client has sent, for adapters that make a request of it:
 * `(event, context) => proxy(asSent(event), context)`.
 *
 * HTTP APIs hand the path over decoded. It is encoded again as `fetch` would write it, or put back as the header
 * `AuthMesh-Path` says, where that decodes to the same path. What comes out is what is verified, and what the application
 * routes by. Events of format 2.0 have the query as it was sent, so the one that was taken apart (`queryStringParameters`)
 * is left out. All other events stay as they are.
 *
 * @see docs/lambda.md
 */
export function asSent<E>(event: E): E {
  if (typeof event !== 'object' || event === null) return event;
  const { version, path, rawPath, rawQueryString } = event as GatewayEvent;
  if (version === '2.0' && typeof rawPath === 'string') {
    const sent = isFunctionUrl(event) ? rawPath : encoded(event, rawPath);
    const query = typeof rawQueryString === 'string' && rawQueryString !== '' ? `?${rawQueryString}` : '';
    // @fastify/aws-lambda takes `path` where it is there, and would make a query of its own.
    return { ...event, rawPath: sent, path: sent + query, queryStringParameters: undefined };
  }
  // REST APIs and load balancers, which hand the path over as it was sent, give no version.
  if (version === '1.0' && typeof path === 'string') {
    const { pathParameters } = event as GatewayEvent;
    // serverless-express takes `proxy` in place of the path, and that one is decoded, too.
    return { ...event, path: encoded(event, path), pathParameters: { ...pathParameters, proxy: undefined } };
  }
  return event;
}

function isFunctionUrl({ requestContext }: GatewayEvent): boolean {
  return /^[^.]+\.lambda-url\.[^.]+\.on\.aws$/.test(String(requestContext?.domainName));
}

/** A decoded path as it was sent, as far as that can be told. */
function encoded({ headers }: GatewayEvent, decoded: string): string {
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (name.toLowerCase() === PATH_HEADER && typeof value === 'string' && decodes(value, decoded))
      return value;
  }
  return decoded.toWellFormed().replace(NOT_IN_PATHS, encodeURIComponent);
}

/** What URLs do not have in a path, or have there with another meaning. */
const NOT_IN_PATHS = /[^!$&'()*+,\-./0-9:;=@A-Z[\]^_a-z|~]/gu;

function decodes(sent: string, decoded: string): boolean {
  try {
    return /^\/[^?#]*$/.test(sent) && decodeURIComponent(sent) === decoded;
  } catch {
    return false;
  }
}
