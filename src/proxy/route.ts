import { isLoopback } from '../core/wire/authority';
import { readVariable } from '../process/environment';
import type { Env } from '../process/home';
import { isExempt, portOfUrl } from './no-proxy';

/** A proxy that takes CONNECT, and the variable that names it. */
export interface HttpProxy {
  /** With the user name and the password, where there are any. Never printed. */
  readonly url: URL;
  /** `host:port`, as it may be printed. */
  readonly shown: string;
  /** The name of that variable, as it is spelt in the environment. */
  readonly variable: string;
}

/** How a connection goes out. */
export type Route =
  | {
      /** Through a proxy. */
      readonly by: 'proxy';
      /** Which one. */
      readonly proxy: HttpProxy;
    }
  | {
      /** It stays on this machine. */
      readonly by: 'loopback';
    }
  | {
      /** Straight, since a variable takes the host out of the proxy. */
      readonly by: 'exempt';
      /** That variable: `NO_PROXY` or `no_proxy`. */
      readonly variable: string;
    }
  | {
      /** Straight, since no variable names a proxy. */
      readonly by: 'default';
    };

const EXAMPLE = 'Write http://proxy.example.com:3128';

/**
 * Which way a connection takes, as the environment has it: `https_proxy` for `https:` and `wss:`, `http_proxy` for `http:`
 * and `ws:`, else `all_proxy`; each in lower case before upper case, an empty one as if it were not set. What stays on this
 * machine never goes through a proxy, and what `no_proxy` names does not either.
 *
 * @throws TypeError that names the variable, and never its value
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

/** The names of variables that name a proxy, as they are set. */
export function proxyVariables(env: Env): string[] {
  return ['https_proxy', 'http_proxy', 'all_proxy'].flatMap((name) => spellings(name, env));
}

/** The text of NO_PROXY and the name under which it is set; null where it is not. @throws TypeError that names it */
export function readNoProxy(env: Env): {
  /** The name, as it is spelt in the environment. */
  readonly variable: string;
  /** The text, which is not empty. */
  readonly value: string;
} | null {
  return read(env, ['no_proxy']);
}

function read(env: Env, names: readonly string[]) {
  const [variable] = names.flatMap((name) => spellings(name, env));
  const value = variable === undefined ? undefined : readVariable(env, variable, 'unset');
  return variable === undefined || value === undefined ? null : { variable, value };
}

/** The spellings of a variable that are set, that in lower case first. */
function spellings(name: string, env: Env): string[] {
  const both = [name, name.toUpperCase()];
  // Under CGI a request sets HTTP_PROXY: it is what its header Proxy says. On Windows http_proxy is the same variable.
  const isSent = (spelling: string) =>
    name === 'http_proxy' && env.REQUEST_METHOD && env[spelling] === env.HTTP_PROXY;
  return both.filter((spelling) => env[spelling] && !isSent(spelling));
}

function isHere({ hostname }: URL): boolean {
  const host = hostname.replace(/\.$/, '');
  return isLoopback(host) || /^(?:0\.0\.0\.0|\[::\]|\[::ffff:7f[\da-f]{2}:[\da-f]{1,4}\])$/.test(host);
}

/** ` at host:port` where no part of a password can be taken for it. */
function hostIn(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain = url !== null && /^\/?$/.test(url.pathname) && url.search === '' && url.hash === '';
  return isPlain && url.host !== '' ? ` at ${url.host}` : '';
}

function toProxy(text: string, variable: string): HttpProxy {
  const [, scheme] = /^([a-z][a-z\d+.-]*):\/\//i.exec(text) ?? [];
  if (scheme !== undefined && !/^https?$/i.test(scheme)) {
    throw new TypeError(
      `${variable} names a ${scheme.toLowerCase()}:// proxy${hostIn(text)}: only http:// and https:// are spoken here. ${EXAMPLE}, or unset it.`,
    );
  }
  const whole = scheme === undefined ? `http://${text}` : text;
  const url = URL.canParse(whole) ? new URL(whole) : null;
  if (url === null || /\s/.test(text))
    throw new TypeError(`${variable} is not the URL of a proxy. ${EXAMPLE}.`);
  // Behind these would stand a part of a password that is not escaped, or a file that says which proxy to use.
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new TypeError(
      `${variable} holds more than the host and the port of a proxy. ${EXAMPLE}; in a password write / as %2F, ? as %3F and # as %23.`,
    );
  }
  if (url.port === '0') throw new TypeError(`${variable} names port 0. ${EXAMPLE}.`);
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    throw new TypeError(`${variable} holds a user name or a password with a bare %. Write % as %25.`);
  }
  return { url, shown: `${url.hostname}:${portOfUrl(url)}`, variable };
}
