/** The header with the path as sent, for gateways that pass on a decoded path. */
const PATH_HEADER = 'authmesh-path';

/** The fields of an API Gateway event that are used here. */
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
 * Restores the path and query of a Lambda event as the client sent them, for adapters that build a request:
 * `(event, context) => proxy(asSent(event), context)`.
 *
 * HTTP APIs pass on a decoded path. This function encodes it again as `fetch` does, or takes it from the header `AuthMesh-Path`, if
 * that decodes to the same path. The result is what amesh verifies and what the application routes by. Events of format 2.0 have
 * the original query, so the parsed one (`queryStringParameters`) is removed. Other events stay unchanged.
 *
 * @see docs/lambda.md
 */
export function asSent<E>(event: E): E {
  if (typeof event !== 'object' || event === null) return event;
  const { version, path, rawPath, rawQueryString } = event as GatewayEvent;
  if (version === '2.0' && typeof rawPath === 'string') {
    const sent = isFunctionUrl(event) ? rawPath : encoded(event, rawPath);
    const query = typeof rawQueryString === 'string' && rawQueryString !== '' ? `?${rawQueryString}` : '';
    // @fastify/aws-lambda prefers `path`, and would build its own query.
    return { ...event, rawPath: sent, path: sent + query, queryStringParameters: undefined };
  }
  // REST APIs and load balancers pass on the original path, and have no version.
  if (version === '1.0' && typeof path === 'string') {
    const { pathParameters } = event as GatewayEvent;
    // serverless-express uses `proxy` instead of the path, and `proxy` is decoded, too.
    return { ...event, path: encoded(event, path), pathParameters: { ...pathParameters, proxy: undefined } };
  }
  return event;
}

function isFunctionUrl({ requestContext }: GatewayEvent): boolean {
  return /^[^.]+\.lambda-url\.[^.]+\.on\.aws$/.test(String(requestContext?.domainName));
}

/** The original path for a decoded one, as well as it can be known. */
function encoded({ headers }: GatewayEvent, decoded: string): string {
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (name.toLowerCase() === PATH_HEADER && typeof value === 'string' && decodes(value, decoded))
      return value;
  }
  return decoded.toWellFormed().replace(NOT_IN_PATHS, encodeURIComponent);
}

/** Characters that `fetch` escapes in a path. */
const NOT_IN_PATHS = /[^!$&'()*+,\-./0-9:;=@A-Z[\]^_a-z|~]/gu;

function decodes(sent: string, decoded: string): boolean {
  try {
    return /^\/[^?#]*$/.test(sent) && decodeURIComponent(sent) === decoded;
  } catch {
    return false;
  }
}
