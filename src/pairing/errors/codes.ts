import { defineCodes } from '../../core/errors/define-codes';

/** How pairing can end. Unless it says otherwise, nothing has changed on either machine. */
export const PAIRING_CODES = /* @__PURE__ */ defineCodes({
  relay_unreachable: {
    cause: 'The relay did not answer.',
    fix: 'On one network, amesh listen --serve needs none. Another relay: --relay URL. Without any',
    command: ['amesh', 'trust', 'export'],
  },
  relay_busy: {
    cause: 'The relay is busy.',
    fix: 'Try again in a minute, or use another relay: --relay URL',
  },
  code_expired: {
    cause: 'No controller used the code in time.',
    fix: 'Run again',
    command: ['amesh', 'listen'],
  },
  code_not_found: {
    cause: 'The relay does not know this code, or no longer does.',
    fix: 'Ask for a fresh one, and check that both machines use the same relay: if `amesh listen` shows a line with --relay, run all of it.',
  },
  code_used: {
    cause: 'Somebody has used this code already.',
    fix: 'If it was not you, get a new one on the other machine',
    command: ['amesh', 'listen'],
  },
  peer_gone: {
    cause: 'The other machine is gone.',
    fix: 'Start again, on both machines.',
  },
  codes_differ: {
    cause: 'The codes differ: a typing mistake, or someone is in the middle.',
    fix: 'This code is spent. Start again with',
    command: ['amesh', 'listen'],
  },
  pairing_tampered: {
    cause: 'STOP: someone between the devices, possibly the relay, may be intercepting.',
    fix: 'Try a relay that you run',
    command: ['amesh', 'relay'],
  },
  pairing_declined: {
    cause: 'Somebody at the other machine said no.',
    fix: 'Start again if that was a mistake.',
  },
  pairing_version: {
    cause: 'The two machines have no version of the pairing protocol in common.',
    fix: 'Update amesh on the older one.',
  },
  pairing_unconfirmed: {
    cause: 'The other machine did not acknowledge.',
    fix: 'The pairing is saved here as unconfirmed. The first request that is answered confirms it; or run amesh invite again.',
  },
});
