/**
 * The prefix of each kind of message that a device key signs, so that a signature of one kind is never valid for another.
 * The signature base of a request begins with a quotation mark and a token with `eyJ`; no prefix here does.
 */
export const LABELS = Object.freeze({
  list: 'amesh list v2\n',
  /** The prefix and each part after it are preceded by their length, 4 bytes. */
  pairing: { controller: 'amesh-pair/1 controller', target: 'amesh-pair/1 target' },
});

/** The prefix of a statement about a next key; a constant of its own, since no Worker needs it. */
export const ROTATION_LABEL = 'amesh rotation v1\n';

/** The prefixes for bootstrap tokens; a separate table, since no Worker needs them. */
export const TOKEN_LABELS = Object.freeze({
  enrolment: 'amesh enrolment v1\n',
  registration: 'amesh registration v1\n',
  /** Labels for keys derived from a token's secret, and for the authenticated message. */
  secret: Object.freeze({
    mac: 'amesh registration mac v1\n',
    macKey: 'amesh registration mac key v1',
    mailbox: 'amesh registration mailbox v1',
    sealKey: 'amesh registration seal key v1',
  }),
});
