import { chmod, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run } from '../../src/keys/tpm2/command';
import { CC } from '../../src/keys/tpm2/commands';
import { explain } from '../../src/keys/tpm2/problems';
import { ResponseError } from '../../src/keys/tpm2/response-error';
import { SilentTpmError, Tpm } from '../../src/keys/tpm2/tpm';
import { asNameless, NAMELESS } from '../support/nameless-user';

// What no software TPM does on demand. What one does is in tpm2.test.ts.

const nowhere = Tpm.at({ kind: 'device', path: '/nowhere/tpmrm0' });
const inHex = (code: number) => `0x${code.toString(16)}`;
const ofSystem = (code: string) => Object.assign(new Error(code), { code });
const key = { fingerprint: undefined, isWithoutPin: true };

describe('the message that a person reads', () => {
  it.each([
    ['a permission that is missing', ofSystem('EACCES'), 'This user may not use /nowhere/tpmrm0.'],
    ['a device that another program uses', ofSystem('EBUSY'), 'Another program uses /nowhere/tpmrm0.'],
    ['a driver that fails', ofSystem('EIO'), '/nowhere/tpmrm0 cannot be used (EIO).'],
    ['a TPM that is silent', new SilentTpmError(), 'The TPM has not responded for 60 s.'],
    ['a TPM that was not started', new ResponseError(0x100, CC.sign), 'The TPM has been reset'],
    ['a TPM that failed its test', new ResponseError(0x101, CC.sign), 'The TPM has failed its own test'],
    ['a TPM without room', new ResponseError(0x904, CC.load), 'The TPM is full: other programs'],
    [
      'a code that nobody expects',
      new ResponseError(0x95, CC.createPrimary),
      'The TPM responded with the code 0x95.',
    ],
    ['an answer that is too short', new RangeError('The TPM responded with too few bytes.'), 'too few bytes'],
  ])('of %s', async (_, error, detail) => {
    const problem = await explain(error, nowhere);
    expect(problem).toMatchObject({
      code: 'key_backend_unavailable',
      detail: expect.stringContaining(detail),
      fix: expect.stringMatching(/\.|: /),
    });
  });

  it.each([
    ['a key that the TPM refuses', new ResponseError(0x1df, CC.load), 'key_lost'],
    ['a key that needs a PIN and has none', new ResponseError(0x98e, CC.sign), 'key_lost'],
    ['a TPM that has locked itself', new ResponseError(0x921, CC.sign), 'key_locked'],
  ])('of %s, if nothing more can be asked', async (_, error, code) => {
    expect(await explain(error, nowhere, key)).toMatchObject({ code });
  });

  // What a TPM answers for a while, or to any command: the key may work the next time.
  const PASSING = [0x901, 0x908, 0x90a, 0x910, 0x911, 0x918, 0x920, 0x922, 0x923, 0x98b, 0x120, 0x12d, 0x97f];
  it.each(PASSING.map(inHex))('of the code %s: it does not say that the key is lost', async (code) => {
    for (const command of [CC.createPrimary, CC.load, CC.sign]) {
      const problem = await explain(new ResponseError(Number(code), command), nowhere, key);
      expect(problem).toMatchObject({ code: 'key_backend_unavailable', fix: expect.stringMatching(/again/) });
      expect(problem.message).not.toContain('lost');
    }
  });

  it.each([0x1df, 0x9f, 0x2e5, 0x1d5].map(inHex))(
    'of the code %s when the TPM was to load a key: it says that the key is lost',
    async (code) => {
      const answer = (command: number) => new ResponseError(Number(code), command);
      expect(await explain(answer(CC.load), nowhere, key)).toMatchObject({ code: 'key_lost' });
      for (const command of [CC.createPrimary, CC.sign])
        expect(await explain(answer(command), nowhere, key)).toMatchObject({
          code: 'key_backend_unavailable',
        });
    },
  );

  it('of a TPM that stays busy: its last answer, after one attempt more than there are pauses', async () => {
    let attempts = 0;
    const busy = {
      async send() {
        attempts++;
        return Uint8Array.of(0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22);
      },
      close: async () => {},
    };
    const error = await run(busy, { code: CC.sign }, [0, 0, 0]).catch((thrown) => thrown);
    expect(attempts).toBe(4);
    expect(await explain(error, nowhere, key)).toMatchObject({
      code: 'key_backend_unavailable',
      detail: 'The TPM is busy: it answered several times with the code 0x922.',
    });
  });

  it('of a wrong PIN', async () => {
    const error = new ResponseError(0x98e, CC.sign);
    expect(await explain(error, nowhere, { ...key, isWithoutPin: false })).toMatchObject({
      code: 'pin_wrong',
    });
  });

  it('of the group of a device: it says how to join it', async () => {
    // A device of every Linux that has a group, and is for it.
    const terminal = Tpm.at({ kind: 'device', path: '/dev/ptmx' });
    expect(await explain(ofSystem('EACCES'), terminal)).toMatchObject({
      detail: expect.stringMatching(
        /^This user may not use \/dev\/ptmx(?:\.|, which is for the group \w+\.)$/,
      ),
    });
  });

  it.skipIf(process.geteuid?.() !== 0)('of a permission that a user without a name lacks', async () => {
    expect(await asNameless(() => explain(ofSystem('EACCES'), nowhere))).toMatchObject({
      code: 'key_backend_unavailable',
      fix: `Let the user with uid ${NAMELESS} read and write it.`,
    });
    const device = join(tmpdir(), `amesh-test-${process.pid}-tpm`);
    await writeFile(device, '', { mode: 0o660 });
    await chmod(device, 0o660);
    try {
      const inGroup = Tpm.at({ kind: 'device', path: device });
      expect(await asNameless(() => explain(ofSystem('EACCES'), inGroup))).toMatchObject({
        detail: `This user may not use ${device}, which is for the group root.`,
        fix: expect.stringMatching(/^This user \(uid 54321\) has no name: .*--group-add 0\.$/),
        command: undefined,
      });
    } finally {
      await rm(device);
    }
  });
});
