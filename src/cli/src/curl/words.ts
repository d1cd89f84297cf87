import type { ClientRefusal } from '@authmesh/sdk/core';

/** A request as `-v` shows it. */
export interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly base: string;
}

/** The request and the text that was signed, line by line. */
export function requestLines({ method, url, headers, base }: Sent): string[] {
  const { pathname, search, host } = new URL(url);
  return [
    `> ${method} ${pathname}${search}`,
    `> host: ${host}`,
    ...headers.map(([name, value]) => `> ${name}: ${value}`),
    '* This was signed (RFC 9421, section 2.5):',
    ...base.split('\n').map((line) => `*   ${line}`),
  ];
}

export function statusLine({ status, statusText }: Response): string {
  return `HTTP ${status}${statusText === '' ? '' : ` ${statusText}`}`;
}

export function headerLines({ headers }: Response): string[] {
  return [...headers].map(([name, value]) => `${name}: ${value}`);
}

/** What a response means, in words for people, line by line; empty if there is nothing to say. */
export function meaningOf(response: Response, refusal: ClientRefusal | undefined): string[] {
  const { status, headers } = response;
  if (refusal !== undefined) {
    const { code, detail, fix } = refusal;
    return [`✗ ${status} ${code}: ${detail}`, `  ${fix}`];
  }
  if (status === 401) {
    const login = headers.get('www-authenticate');
    return [
      `! This 401 does not come from amesh${login === null ? '' : `, but from another login (${login})`}: the server, or something in front of it, requires other credentials.`,
    ];
  }
  const location = headers.get('location');
  if (status >= 300 && status < 400 && location !== null)
    return [`! ${status} leads to ${location}. amesh curl follows no redirect: call that URL.`];
  return [];
}
