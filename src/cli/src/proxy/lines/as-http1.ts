import type { RequestView } from '@authmesh/sdk/core';
import type { ProxyRequest } from './framing';
import { eachLine, type Lines, valuesOf } from './header-lines';

/** The lines of an HTTP/2 request in HTTP/1.1: with a Host, and with one line of cookies (RFC 9113 sections 8.2.3, 8.3.1). */
export function asHttp1(request: ProxyRequest, lines: Lines): string[] {
  const cookies = valuesOf(lines, 'cookie');
  const kept: string[] = [];
  eachLine(lines, (name, value, sent) => {
    if (name !== 'host' && name !== 'cookie') kept.push(sent, value);
  });
  const { authority = '' } = request as { authority?: string };
  return ['Host', authority, ...kept, ...(cookies.length === 0 ? [] : ['Cookie', cookies.join('; ')])];
}

/** A view of a request without a body. */
export function bodilessView(request: ProxyRequest): RequestView {
  const headers: Record<string, string[]> = Object.create(null);
  eachLine(request.rawHeaders, (name, value) => {
    const lines = headers[name];
    if (lines === undefined) headers[name] = [value];
    else lines.push(value);
  });
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    authority: headers.host?.[0] ?? '',
    headers,
    localPort: request.socket?.localPort,
    source: request,
  };
}
