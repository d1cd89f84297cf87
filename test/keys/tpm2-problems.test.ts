import { chmod, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CC } from '../../src/keys/tpm2/commands';
import { explain } from '../../src/keys/tpm2/problems';
import { ResponseError } from '../../src/keys/tpm2/response-error';
import { SilentTpmError, Tpm } from '../../src/keys/tpm2/tpm';
import { asNameless, NAMELESS } from '../support/nameless-user';

// What no software TPM does on demand. What one does is in tpm2.test.ts.

const nowhere = Tpm.at({ kind: 'device', path: '/nowhere/tpmrm0' });
const ofSystem = (code: string) => Object.assign(new Error(code), { code });
const key = { fingerprint: undefined, isWithoutPin: true };

describe('what a person reads', () => {
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
    ['a key that the TPM does not take', new ResponseError(0x1df, CC.load), 'key_lost'],
    ['a key without a PIN that wants one', new ResponseError(0x98e, CC.sign), 'key_lost'],
    ['a TPM that has locked itself', new ResponseError(0x921, CC.sign), 'key_locked'],
  ])('of %s, where nothing more can be asked', async (_, error, code) => {
    expect(await explain(error, nowhere, key)).toMatchObject({ code });
  });

  it('of a wrong PIN', async () => {
    const error = new ResponseError(0x98e, CC.sign);
    expect(await explain(error, nowhere, { ...key, isWithoutPin: false })).toMatchObject({
      code: 'pin_wrong',
    });
  });

  it('of the group of a device: how to join it', async () => {
    // A device of every Linux that has a group, and is for it.
    const terminal = Tpm.at({ kind: 'device', path: '/dev/ptmx' });
    expect(await explain(ofSystem('EACCES'), terminal)).toMatchObject({
      detail: expect.stringMatching(
        /^This user may not use \/dev\/ptmx(?:\.|, which is for the group \w+\.)$/,
      ),
    });
  });

  it.skipIf(process.geteuid?.() !== 0)('of a permission that a user without a name misses', async () => {
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
