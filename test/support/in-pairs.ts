import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { eachByItself } from './each-by-itself';

/** Passes two requests on at a time, in one turn of the event loop, so that their answers may wait for each other. */
export function inPairs(listener: RequestListener): RequestListener {
  const waiting: [IncomingMessage, ServerResponse][] = [];
  return (...pair) => {
    if (waiting.push(pair as [IncomingMessage, ServerResponse]) === 2)
      void eachByItself(waiting.splice(0), ([request, response]) => void listener(request, response));
  };
}
