import { exchange, head, type RawResponse } from './raw-http';
import type { Vector } from './vectors';

/** The vector as it goes over the wire: nothing between the file and the socket changes it. */
export function sendVector(port: number, { request }: Vector): Promise<RawResponse> {
  const body = Buffer.from(request.body, 'base64');
  const length = request.method === 'GET' && body.length === 0 ? [] : [`Content-Length: ${body.length}`];
  const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
  const line = `${request.method} ${request.target} HTTP/1.1`;
  return exchange(port, head(line, [`Host: ${request.authority}`, ...lines, ...length]), body);
}
