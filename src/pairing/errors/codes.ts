import { defineCodes } from '../../core/errors/define-codes';

/** The ways in which pairing can fail. Unless stated otherwise, nothing has changed on either machine. */
export const PAIRING_CODES = /* @__PURE__ */ defineCodes({
  relay_unreachable: {
    cause: 'The relay did not respond.',
    fix: 'On one network, amesh listen --serve needs no relay. With another relay: --relay URL. Without any',
    command: ['amesh', 'trust', 'export'],
  },
  relay_busy: {
    cause: 'The relay is busy.',
    fix: 'Try again in a minute, or use another relay: --relay URL',
  },
  code_expired: {
    cause: 'No controller used the code in time.',
    fix: 'Run it again',
    command: ['amesh', 'listen'],
  },
  code_not_found: {
    cause: 'The relay does not know this code, or it has expired.',
    fix: 'Ask for a new code, and check that both machines use the same relay: if `amesh listen` shows a line with --relay, run the whole line.',
  },
  code_used: {
    cause: 'Somebody has already used this code.',
    fix: 'If you did not use it, get a new one on the other machine',
    command: ['amesh', 'listen'],
  },
  peer_gone: {
    cause: 'The other machine is gone.',
    fix: 'Start again on both machines.',
  },
  codes_differ: {
    cause: 'The codes differ: somebody mistyped one, or somebody is in the middle.',
    fix: 'This code cannot be used again. Start again with',
    command: ['amesh', 'listen'],
  },
  pairing_tampered: {
    cause: 'STOP: somebody between the two machines, possibly the relay, may be intercepting the pairing.',
    fix: 'Try again with your own relay',
    command: ['amesh', 'relay'],
  },
  pairing_declined: {
    cause: 'Somebody at the other machine declined.',
    fix: 'If that was a mistake, start again.',
  },
  pairing_version: {
    cause: 'The two machines have no version of the pairing protocol in common.',
    fix: 'Update amesh on the older one.',
  },
  pairing_unconfirmed: {
    cause: 'The other machine did not confirm the pairing.',
    fix: 'It is stored here as unconfirmed. The first successful response to a request confirms it. Or run amesh invite again.',
  },
});
