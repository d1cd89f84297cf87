import { LINGER_BYTES, LINGER_MS } from './refuse';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';
import { hasArrived } from './transport';

/**
 * Ends a request's stream with an error in mid-body.
 *
 * By itself Node would take the connection down with it. Here the handler gets a second to answer, and meanwhile what
 * still comes of the body is thrown away, within the bounds of a refusal.
 */
export function breakOff(request: NodeRequest, response: NodeResponse | undefined, error: Error): void {
  if (response === undefined || request.destroyed) {
    request.destroy(error);
    return;
  }
  const cut = () => {
    if (isHttp2(request)) request.stream?.close();
    else request.socket?.destroy?.(); // what stands in for a socket need not have it
  };
  let discarded = 0;
  request.push = (chunk: Uint8Array | string | null) => {
    discarded += chunk?.length ?? 0;
    if (discarded > LINGER_BYTES) cut();
    return true;
  };
  const timer = setTimeout(() => {
    if (!response.headersSent || !hasArrived(request)) cut();
  }, LINGER_MS);
  response.once('close', () => clearTimeout(timer));
  if (!hasArrived(request) && !isHttp2(request) && !response.headersSent)
    response.setHeader('connection', 'close');
  // As Node does it, an error that nobody listens for is none; without that a handler could bring the process down.
  request._destroy = (reason, done) =>
    process.nextTick(() => done(request.listenerCount('error') > 0 ? reason : null));
  request.destroy(error);
}
