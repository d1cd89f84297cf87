/**
 * What each string that a device key signs begins with, so that no signature can be taken for one of another kind.
 * A request's signature base begins with a quotation mark, and a token with `eyJ`, which none of these does.
 */
export const LABELS = Object.freeze({
  allowList: 'amesh allow list v1\n',
  /** Behind its length in 4 bytes, as is all that follows it. */
  pairing: { controller: 'amesh-pair/1 controller', target: 'amesh-pair/1 target' },
});

/** The same for what comes of bootstrap tokens; apart from it, since no Worker needs it. */
export const TOKEN_LABELS = Object.freeze({
  enrolment: 'amesh enrolment v1\n',
  registration: 'amesh registration v1\n',
  /** What is made of a token's secret: a label for each key, and one for what is authenticated. */
  secret: Object.freeze({
    mac: 'amesh registration mac v1\n',
    macKey: 'amesh registration mac key v1',
    mailbox: 'amesh registration mailbox v1',
    sealKey: 'amesh registration seal key v1',
  }),
});
