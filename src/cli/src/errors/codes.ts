/**
 * The codes that only the command line has, in addition to those of the SDK, for `error.code` in `--json`.
 *
 * @see docs/errors.md
 */
export const COMMAND_CODES = Object.freeze([
  'usage',
  'declined',
  'interrupted',
  'already_revoked',
  'token_used',
  'token_not_taken',
  'no_code_typed',
  'port_unavailable',
  'relay_not_started',
  'server_unreachable',
  'spool_full',
  'spool_unsafe',
  'checks_failed',
  'no_answer',
  'config_unreadable',
  'file_system_error',
  'cannot_become_owner',
  'internal_error',
] as const);

export type CommandCode = (typeof COMMAND_CODES)[number];
