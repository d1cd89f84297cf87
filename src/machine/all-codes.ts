import { BOOTSTRAP_CODES } from '../bootstrap/errors/codes';
import type { AmeshCode } from '../core/errors/code-names';
import { BODY_CODES, CLIENT_CODES, REQUEST_CODES, SERVER_CODES, SIGNATURE_CODES } from '../core/errors/codes';
import type { CodeFacts } from '../core/errors/define-codes';
import { KEY_CODES } from '../keys/errors/codes';
import { PAIRING_CODES } from '../pairing/errors/codes';
import { PROCESS_CODES } from '../process/errors/codes';
import { STORAGE_CODES } from '../storage/errors/codes';
import { TRUST_CODES } from '../trust/errors/codes';
import { MACHINE_CODES } from './errors/codes';

/**
 * Every code of a refusal, fault or error: one list for the wire, the log, `AmeshError.code` and the docs. It is the same in
 * every runtime.
 *
 * `status` and `wire` are what a client sees; `wire` is the public code, which may hide the reason from strangers. An
 * entry without them never goes over the wire.
 *
 * @see docs/errors.md
 */
export const CODES = /* @__PURE__ */ join();

function join() {
  const {
    missing_header,
    unsupported_version,
    replay_detected,
    device_expired,
    delegate_not_allowed,
    scope_missing,
    ...others
  } = REQUEST_CODES;
  const { malformed_header, invalid_signature } = SIGNATURE_CODES;
  return Object.freeze({
    // In the order of the checks.
    missing_header,
    unsupported_version,
    malformed_header,
    ...others,
    invalid_signature,
    replay_detected,
    device_expired,
    delegate_not_allowed,
    scope_missing,
    ...BODY_CODES,
    ...SERVER_CODES,
    ...CLIENT_CODES,
    ...PROCESS_CODES,
    ...KEY_CODES,
    ...STORAGE_CODES,
    ...TRUST_CODES,
    ...MACHINE_CODES,
    ...PAIRING_CODES,
    ...BOOTSTRAP_CODES,
  } satisfies { readonly [C in AmeshCode]: CodeFacts<C> });
}
