import { beforeEach, expect, it, vi } from 'vitest';
import { noteProof } from '../../src/core/answers/proven-by';
import { AnswerUnprovenError } from '../../src/core/errors/amesh-error';
import { noteRequest } from '../../src/core/sign/sent-request';
import { Moves } from '../../src/machine/moves/take-move';

const HOUR_MS = 3_600_000;

/** What a caller does about proven answers in which a target names its next key: those of `moved-target.test.ts`, many times. */
const update = vi.fn(async (): Promise<{ result: boolean }> => ({ result: true }));
const log = { once: vi.fn<(line: string) => void>(), seldom: vi.fn<(topic: string, line: string) => void>() };
const caller = { list: {}, device: async () => ({ trust: { update } }), log } as unknown as Parameters<
  Moves['take']
>[1];
let moves: Moves;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.clearAllMocks();
  update.mockReset().mockResolvedValue({ result: true });
  moves = new Moves();
  return () => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  };
});

/** A proven answer of a target, with a statement about its next key. */
function answer(target: string, next: number): Response {
  const response = new Response();
  const succession = { text: `${target} ${next}`, formerId: target, nextId: `am_${next}`, issuedAt: 0 };
  noteProof(response, { target, head: { succession } as never });
  noteRequest(response, { nonce: '', authority: '', target });
  return response;
}

it.each([true, false])(
  'a target that always names another next key changes the list 8 times, and then once an hour (it can be written: %s)',
  async (isWritable) => {
    if (!isWritable) update.mockRejectedValue(new Error('read-only'));
    for (let i = 0; i < 300; i++) await moves.take(answer('am_a', i), caller);
    expect(update).toHaveBeenCalledTimes(8);
    expect(log.once).toHaveBeenCalledTimes(8);
    expect(new Set(log.seldom.mock.calls.map(([topic]) => topic)).size).toBe(1);
    expect(log.seldom.mock.calls[0]?.[1]).toContain('am_a names one next key after the other');

    await moves.take(answer('am_b', 0), caller); // another target is heard all the same
    expect(update).toHaveBeenCalledTimes(9);
    vi.setSystemTime(Date.now() + HOUR_MS);
    for (let i = 300; i < 310; i++) await moves.take(answer('am_a', i), caller);
    expect(update).toHaveBeenCalledTimes(10);
  },
);

it('a move that cannot be written is tried again every 30 s, as often as necessary', async () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(0);
  update.mockRejectedValue(new Error('read-only'));
  for (let i = 0; i < 40; i++) {
    now.mockReturnValue(i * 15_500);
    await moves.take(answer('am_a', 0), caller);
  }
  expect(update).toHaveBeenCalledTimes(20);
  expect(new Set(log.once.mock.calls.flat()).size).toBe(1);
  expect(log.seldom).not.toHaveBeenCalled();
});

it('a key that names two next keys is logged seldom, for any path of the target and for any next keys', () => {
  for (let i = 0; i < 300; i++) {
    const error = new AnswerUnprovenError(`http://a.example/${i} names am_${i}.`, {
      status: 200,
      namesTwoKeys: true,
    });
    moves.tell(error, caller, new URL(`http://a.example/${i}`));
  }
  expect(log.once).not.toHaveBeenCalled();
  expect(new Set(log.seldom.mock.calls.map(([topic]) => topic)).size).toBe(1);
  expect(log.seldom.mock.calls[0]?.[1]).toContain('Ask its owner which key is the right one.');
});
