import type { IncomingMessage } from 'node:http';
import { normalizeAuthority } from '@authmesh/sdk/core';
import { ProxyFault } from './fault';
import { requestFault } from './lines/framing';
import { valuesOf } from './lines/header-lines';
import type { ListenPlace } from './place';
import type { Server } from './server';

/** The options of a {@link Destination}. */
export interface DestinationOptions {
  readonly server: Server;
  /** Where clients reach this proxy, which decides the hosts that they may name. They may also name the host of the target. */
  readonly place: ListenPlace;
  /** More hosts that clients may name, in normal form. */
  readonly hosts: readonly string[];
}

/** Lets requests go to one target, and nowhere else. */
export class Destination {
  readonly #options: DestinationOptions;
  #hosts: ReadonlySet<string> | undefined;

  constructor(options: DestinationOptions) {
    this.#options = options;
  }

  /** Where a request goes. @throws ProxyFault if that is not the target, or the request may come from a browser */
  urlOf(request: IncomingMessage): URL {
    const fault = requestFault(request);
    if (fault !== undefined) throw refused(400, fault);
    if (request.method === 'TRACE') throw refused(400, 'amesh signs no TRACE');
    const { place } = this.#options.server;
    this.#checkHost(request);
    const sent = request.url ?? '';
    const target = sent.startsWith('/') ? sent : targetIn(sent, place);
    if (!/^\/[\x21\x22\x24-\x7e]*$/.test(target)) throw refused(400, 'its target is not a path');
    const url = new URL(place.url.origin + target);
    if (!isSame(url, target))
      throw refused(400, 'a URL cannot have its path, such as one with "/../" or "\\"');
    return url;
  }

  /**
   * A web page in a browser on this machine must not use the key of the machine: neither under a name that leads here, nor by a
   * request from another site. Programs do not send such headers.
   */
  #checkHost(request: IncomingMessage): void {
    const [host = ''] = valuesOf(request.rawHeaders, 'host');
    const { localPort } = request.socket;
    if (!this.#isOwn(host, localPort))
      throw new ProxyFault(
        421,
        'wrong_host',
        `The Host ${printed(host.replace(/^.*@/s, ''))} is neither this proxy nor the target.`,
      );
    const site = valuesOf(request.rawHeaders, 'sec-fetch-site').join(', ').trim().toLowerCase();
    const origins = valuesOf(request.rawHeaders, 'origin');
    const isForeign = origins.some((origin) => {
      const url = URL.canParse(origin) ? new URL(origin) : undefined;
      return url === undefined || !this.#isOwn(url.host, localPort);
    });
    if (isForeign || (site !== '' && site !== 'none' && site !== 'same-origin'))
      throw new ProxyFault(403, 'wrong_host', 'A page of another site in a browser has sent this request.');
  }

  #isOwn(host: string, port: number | undefined): boolean {
    const { place, hosts, server } = this.#options;
    this.#hosts ??= new Set([...hostsAt(place, port), ...hosts, ...hostsOf([server.place.url.host])]);
    return this.#hosts.has(normalizeAuthority(host.trim()) ?? '');
  }
}

/** The fault of a request that cannot be signed. @param why the end of a sentence */
export function refused(status: number, why: string): ProxyFault {
  return new ProxyFault(status, 'malformed_header', `The request cannot be signed: ${why}.`);
}

/** The path and query of a target in absolute form, as they arrived. */
function targetIn(sent: string, { url, shown }: Server['place']): string {
  const absolute = URL.canParse(sent) ? new URL(sent) : undefined;
  // Readers could disagree about a URL without "//".
  const [, rest] = /^https?:\/\/[^/?#\\]+(.*)$/is.exec(sent) ?? [];
  const isPlain = absolute?.username === '' && absolute.password === '';
  if (absolute?.origin === url.origin && isPlain && rest !== undefined)
    return rest.startsWith('/') ? rest : `/${rest}`;
  // Shows only the origin: the rest may contain a password or a key.
  const where = absolute === undefined ? 'something else' : printed(`${absolute.protocol}//${absolute.host}`);
  throw new ProxyFault(421, 'wrong_host', `A request for ${where} does not belong to ${shown}.`);
}

function printed(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 99)}…` : text);
}

/** Whether a URL has the path and query that arrived, except for characters that a URI cannot contain and that are escaped. */
function isSame({ pathname, search }: URL, target: string): boolean {
  const escaped = (text: string) =>
    text.replace(/["'<>^`{|}]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  return escaped(pathname + search) === escaped(target.replace(/\?$/, ''));
}

/** The hosts under which programs on this machine call a server that listens there, in normal form. */
function hostsAt(place: ListenPlace, port: number | undefined): string[] {
  if (place.kind === 'socket') return ['localhost'];
  const { host = '' } = place;
  const names = ['localhost', '127.0.0.1', '[::1]', host.includes(':') ? `[${host}]` : host];
  return hostsOf(names.map((name) => `${name}:${port}`));
}

function hostsOf(names: readonly string[]): string[] {
  return names.map(normalizeAuthority).filter((host) => host !== null);
}
