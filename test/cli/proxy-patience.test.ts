import { describe, expect, it } from 'vitest';
import { Patience, type Waiting } from '../../src/cli/src/proxy/waiting/patience';

/** A request as far as patience looks at it. */
class Request {
  readonly socket = { bytesRead: 0, bytesWritten: 0 };
  readonly sent = { socket: this.socket, writableFinished: false };
  readonly waiting: { response?: object; giveUp: () => void } = { giveUp: () => this.givenUp++ };
  givenUp = 0;

  get asWaiting(): Waiting {
    return Object.assign(this.waiting, { sent: this.sent }) as unknown as Waiting;
  }
}

function begin() {
  const patience = new Patience(1000);
  const request = new Request();
  patience.begin(request.asWaiting);
  patience.look(0);
  return { patience, request };
}

describe('how long amesh proxy waits for a server', () => {
  it('gives up a request once if none of its bytes can be sent', () => {
    const { patience, request } = begin();
    patience.look(999);
    expect(request.givenUp).toBe(0);
    patience.look(1000);
    patience.look(5000);
    expect(request.givenUp).toBe(1);
  });

  it('waits for as long as the body moves', () => {
    const { patience, request } = begin();
    for (let nowMs = 900; nowMs < 20_000; nowMs += 900) {
      request.socket.bytesWritten += 1;
      patience.look(nowMs);
    }
    expect(request.givenUp).toBe(0);
  });

  it('gives up a server that has the whole request, whatever it sends before the head of its response', () => {
    const { patience, request } = begin();
    request.sent.writableFinished = true;
    for (let nowMs = 500; nowMs <= 1500; nowMs += 100) {
      request.socket.bytesRead += 25; // as of 102 Processing
      patience.look(nowMs);
    }
    expect(request.givenUp).toBe(1);
  });

  it('waits 15 minutes for a response that stands still, and for ever for one that moves', () => {
    const { patience, request } = begin();
    request.waiting.response = {};
    patience.look(1);
    for (let nowMs = 800_000; nowMs < 8_000_000; nowMs += 800_000) {
      request.socket.bytesRead += 1;
      patience.look(nowMs);
    }
    expect(request.givenUp).toBe(0);
    patience.look(7_200_000 + 899_999);
    expect(request.givenUp).toBe(0);
    patience.look(7_200_000 + 900_000);
    expect(request.givenUp).toBe(1);
  });

  it('forgets a request that has ended, and no other', () => {
    const patience = new Patience(1000);
    const requests = Array.from({ length: 5 }, () => new Request());
    for (const { asWaiting } of requests) patience.begin(asWaiting);
    for (const i of [0, 4, 2, 2]) patience.end(requests[i]?.waiting as Waiting);
    patience.look(0);
    patience.look(1000);
    expect(requests.map(({ givenUp }) => givenUp)).toEqual([0, 1, 0, 1, 0]);
  });
});
