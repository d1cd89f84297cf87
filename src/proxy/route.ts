import { isLoopback } from '../core/wire/authority';
import { readVariable, VariableError } from '../process/environment';
import type { Env } from '../process/home';
import { isExempt, portOfUrl } from './no-proxy';

/** A proxy that supports CONNECT, and the variable that sets it. */
export interface HttpProxy {
  /** With user name and password, if any. Never printed. */
  readonly url: URL;
  /** `host:port`, for messages. */
  readonly shown: string;
  /** The name of the variable, as spelt in the environment. */
  readonly variable: string;
}

/** The route of a connection. */
export type Route =
  | {
      /** Through a proxy. */
      readonly by: 'proxy';
      /** The proxy. */
      readonly proxy: HttpProxy;
    }
  | {
      /** Direct, because the connection stays on this machine. */
      readonly by: 'loopback';
    }
  | {
      /** Direct, because NO_PROXY contains the host. */
      readonly by: 'exempt';
      /** That variable: `NO_PROXY` or `no_proxy`. */
      readonly variable: string;
    }
  | {
      /** Direct, because no variable sets a proxy. */
      readonly by: 'default';
    };

const EXAMPLE = 'Write http://proxy.example.com:3128';

/**
 * The route of a connection in this environment: `https_proxy` for `https:` and `wss:`, `http_proxy` for `http:` and
 * `ws:`, otherwise `all_proxy`; lower case before upper case, and empty variables are ignored. Loopback connections and
 * hosts in `no_proxy` never use a proxy.
 *
 * @throws TypeError with the name of the variable, and never its value
 */
export function routeTo(url: URL, env: Env): Route {
  if (isHere(url)) return { by: 'loopback' };
  const isSecure = url.protocol === 'https:' || url.protocol === 'wss:';
  const set = read(env, [isSecure ? 'https_proxy' : 'http_proxy', 'all_proxy']);
  if (set === null) return { by: 'default' };
  const exempt = read(env, ['no_proxy']);
  if (exempt !== null && isExempt(url, exempt.value)) return { by: 'exempt', variable: exempt.variable };
  return { by: 'proxy', proxy: toProxy(set.value, set.variable) };
}

/** The names of the proxy variables that are set. */
export function proxyVariables(env: Env): string[] {
  return ['https_proxy', 'http_proxy', 'all_proxy'].flatMap((name) => spellings(name, env));
}

/** The value of NO_PROXY and the name under which it is set; null if it is not set. @throws TypeError with that name */
export function readNoProxy(env: Env): {
  /** The name, as spelt in the environment. */
  readonly variable: string;
  /** The value, which is not empty. */
  readonly value: string;
} | null {
  return read(env, ['no_proxy']);
}

function read(env: Env, names: readonly string[]) {
  const [variable] = names.flatMap((name) => spellings(name, env));
  const value = variable === undefined ? undefined : readVariable(env, variable, 'unset');
  return variable === undefined || value === undefined ? null : { variable, value };
}

/** The spellings under which a variable is set, lower case first. */
function spellings(name: string, env: Env): string[] {
  const both = [name, name.toUpperCase()];
  // Under CGI, a request's Proxy header sets HTTP_PROXY. On Windows http_proxy is the same variable.
  const isSent = (spelling: string) =>
    name === 'http_proxy' && env.REQUEST_METHOD && env[spelling] === env.HTTP_PROXY;
  return both.filter((spelling) => env[spelling] && !isSent(spelling));
}

function isHere({ hostname }: URL): boolean {
  const host = hostname.replace(/\.$/, '');
  return isLoopback(host) || /^(?:0\.0\.0\.0|\[::\]|\[::ffff:7f[\da-f]{2}:[\da-f]{1,4}\])$/.test(host);
}

/** ` at host:port`, unless part of a password could be mistaken for it. */
function hostIn(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain = url !== null && /^\/?$/.test(url.pathname) && url.search === '' && url.hash === '';
  return isPlain && url.host !== '' ? ` at ${url.host}` : '';
}

function toProxy(text: string, variable: string): HttpProxy {
  const [, scheme] = /^([a-z][a-z\d+.-]*):\/\//i.exec(text) ?? [];
  if (scheme !== undefined && !/^https?$/i.test(scheme)) {
    throw new VariableError(
      variable,
      `names a ${scheme.toLowerCase()}:// proxy${hostIn(text)}: only http:// and https:// are supported.`,
      `${EXAMPLE}, or unset it.`,
    );
  }
  const whole = scheme === undefined ? `http://${text}` : text;
  const url = URL.canParse(whole) ? new URL(whole) : null;
  if (url === null || /\s/.test(text))
    throw new VariableError(variable, 'is not the URL of a proxy.', `${EXAMPLE}.`);
  // A path, query or fragment means that a password is not escaped, or that this is the URL of a PAC file.
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new VariableError(
      variable,
      'contains more than the host and port of a proxy.',
      `${EXAMPLE}; in a password write / as %2F, ? as %3F and # as %23.`,
    );
  }
  if (url.port === '0') throw new VariableError(variable, 'names port 0.', `${EXAMPLE}.`);
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    throw new VariableError(variable, 'contains a user name or password with a bare %.', 'Write % as %25.');
  }
  return { url, shown: `${url.hostname}:${portOfUrl(url)}`, variable };
}
