import { isHttp2, type NodeRequest, type NodeResponse } from './request';
import { hasArrived, LINGER_BYTES, LINGER_MS } from './transport';

/**
 * Ends a request's stream with an error in the middle of its body.
 *
 * Node itself would close the connection. Here the handler gets a second to respond. In that second, the rest of the body is
 * discarded, within the limits of a refusal.
 */
export function breakOff(request: NodeRequest, response: NodeResponse | undefined, error: Error): void {
  if (response === undefined || request.destroyed) {
    request.destroy(error);
    return;
  }
  const cut = () => {
    if (isHttp2(request)) request.stream?.close();
    else request.socket?.destroy?.(); // a substitute for a socket may lack this method
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
  // As in Node, an error without a listener is ignored; otherwise a handler could crash the process.
  request._destroy = (reason, done) =>
    process.nextTick(() => done(request.listenerCount('error') > 0 ? reason : null));
  request.destroy(error);
}
