import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { amesh, type RequestToSign } from '@authmesh/sdk';

/** Sends a request by node:http; with node:https it is the same. */
export async function signedRequest(parts: RequestToSign, signal?: AbortSignal): Promise<IncomingMessage> {
  for (let isLast = false; ; isLast = true) {
    const { url, method, headers, body, answered } = await amesh.sign(parts);
    const sending = request(url, { method, headers: Object.fromEntries(headers), signal });
    sending.on('error', () => {}); // the await below throws it, or the reader of the response
    sending.end(body);
    const [response] = (await once(sending, 'response')) as [IncomingMessage];
    const { again } = await answered({ status: response.statusCode ?? 0, headers: response.headers });
    if (!again || isLast) return response;
    response.resume();
  }
}
