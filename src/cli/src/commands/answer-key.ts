import { issueAnswerKey } from '@authmesh/sdk/admin';
import { STATEMENT_LIMITS } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { durationFlag, durationText, momentText, toSeconds } from '../words/duration';
import { SUMMARIES } from './summaries';

/** An answer key may last no longer than its statement. */
const LIFETIMES = { least: 60, most: STATEMENT_LIMITS.answerSeconds };

export const answerKey = defineCommand({
  meta: {
    name: 'answer-key',
    description: SUMMARIES['answer-key'],
  },
  args: {
    for: durationFlag('How long the key may sign answers', LIFETIMES, '30d'),
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const lifetimeSeconds = toSeconds(args.for ?? '30d', '--for', LIFETIMES);
    const { signer, identity } = await openMachine();
    const { text, deviceId, expiresAt } = await issueAnswerKey(signer, { lifetimeSeconds });
    return {
      json: { answerKey: text, deviceId, publicKey: identity.publicKey, expiresAt },
      data: [text],
      notes: [
        `✓ This key signs answers in the name of ${deviceId} for ${durationText(lifetimeSeconds)} (until ${momentText(expiresAt)}).`,
        `  Set AMESH_ANSWER_KEY to that text on servers with AMESH_OWNER_KEY=${identity.publicKey}.`,
        '  They warn in the log 14, 7 and 1 days before its end. Make the next one before that.',
        '  It can sign answers, and nothing else: no request, no allow list.',
        '  Anybody who gets the text can forge answers of this machine until then: treat it as a secret.',
        '! It cannot be revoked: before its end, only a move to another key makes it worthless.',
      ],
    };
  },
});
