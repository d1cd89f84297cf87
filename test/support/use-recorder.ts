import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type Recorder, startRecorder } from './recorder';

/** A recorder for a whole test file, which has nothing written down and answers `ok` when a test begins. */
export function useRecorder(): Omit<Recorder, 'close'> {
  let recorder: Recorder;
  beforeAll(async () => {
    recorder = await startRecorder();
  });
  beforeEach(() => {
    recorder.requests.length = 0;
    recorder.answer = (_request, response) => void response.end('ok');
  });
  afterAll(() => recorder.close());
  return {
    get port() {
      return recorder.port;
    },
    get authority() {
      return recorder.authority;
    },
    get origin() {
      return recorder.origin;
    },
    get requests() {
      return recorder.requests;
    },
    get answer() {
      return recorder.answer;
    },
    set answer(answer) {
      recorder.answer = answer;
    },
  };
}
