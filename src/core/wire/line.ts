import { SIGNATURE_CODES } from '../errors/codes';
import { Fault, malformed } from '../errors/fault';
import { normalizeAuthority } from './authority';
import { headerLines, type RequestView } from './view';

/** The parts of a request that every signature covers, as in the signature base. */
export interface RequestLine {
  readonly method: string;
  /** Normalised, see {@link normalizeAuthority}. */
  readonly authority: string;
  readonly path: string;
  /** With its question mark; `?` alone if the target has no query (RFC 9421 section 2.2.7). */
  readonly query: string;
}

/**
 * Whether readers may disagree about a path. No client that parses URLs like a browser sends such a path, and permissions
 * can depend on the path: `/public/..%2fadmin` may mean one thing to a router and another to a file server.
 */
export function isAmbiguous(path: string): boolean {
  return /\\|(\/|%2f|%5c)(\.|%2e){1,2}([/;]|%2f|%5c|$)/i.test(path);
}

export interface RequestLineOptions {
  /** Replaces the received authority. */
  readonly authority?: string | undefined;
  /** Prepended to the target. */
  readonly pathPrefix?: string | undefined;
  /** Uses X-Forwarded-Host, if present, instead of Host. */
  readonly trustForwardedHost?: boolean | undefined;
}

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
/** A target in origin form, in ASCII. */
export const TARGET = /^\/[\x21\x22\x24-\x7e]*$/; // printable ASCII without space and "#"

/** Reads a view's method, target and authority strictly: it refuses what different parts of a server might read differently. */
export function readRequestLine(view: RequestView, options: RequestLineOptions = {}): RequestLine | Fault {
  if (!METHOD.test(view.method)) return malformed('The method is not a token.');
  if (view.method === 'TRACE' || view.method === 'CONNECT')
    return malformed(`${view.method} cannot be signed.`);

  const { conflict, target: sent, routed = sent } = view;
  if (conflict !== undefined) return changed(conflict);
  if (!TARGET.test(sent)) return malformed('The target is not in origin form, or not plain ASCII.');
  const target = (options.pathPrefix ?? '') + routed;
  if (routed !== sent && target !== sent) return changed('path or query');
  const mark = target.indexOf('?');

  const authority = readAuthority(view, options);
  if (authority instanceof Fault) return authority;

  return {
    method: view.method,
    authority,
    path: mark === -1 ? target : target.slice(0, mark),
    query: mark === -1 ? '?' : target.slice(mark),
  };
}

/** The fault of a request that handlers would not see as it was signed. */
export function changed(what: string): Fault {
  return new Fault(SIGNATURE_CODES.invalid_signature, `The ${what} was changed before verify().`, {
    fix: 'Put verify() before that, or see "pathPrefix" in docs/configuration.md.',
  });
}

function readAuthority(view: RequestView, options: RequestLineOptions): string | Fault {
  const seen = normalizeAuthority(view.authority);
  if (seen === null) return malformed('The Host header is missing, or is not host[:port].');
  const hosts = headerLines(view.headers, 'host');
  if (hosts.length > 1) return malformed('There are several Host headers.');
  if (options.authority !== undefined) return options.authority;
  if (options.trustForwardedHost) {
    // The left-most value, which is also Express's host: what the outermost proxy received.
    const forwarded = headerLines(view.headers, 'x-forwarded-host').join(',').split(',')[0] as string;
    if (forwarded.trim() !== '') {
      return normalizeAuthority(forwarded.trim()) ?? malformed('X-Forwarded-Host is not host[:port].');
    }
  }
  const [host = view.authority] = hosts; // mostly the same text
  return host === view.authority || normalizeAuthority(host.trim()) === seen ? seen : malformed(TWO_HOSTS);
}

export const TWO_HOSTS = 'The Host header differs from the authority of the request.';

/** Whether a method is safe: by its definition, it has no effect (RFC 9110 section 9.2.1). */
export function isSafe(method: string): boolean {
  return ['GET', 'HEAD', 'OPTIONS'].includes(method);
}
