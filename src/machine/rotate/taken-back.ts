import { AmeshError } from '../../core/errors/amesh-error';
import { MACHINE_CODES } from '../errors/codes';

/**
 * The error for a command that is impossible while a rotation is taken back.
 *
 * @param urls of targets that were told that the former key ends: they have to learn within 25 hours that it does not
 */
export function takenBack(urls: readonly string[] = []): AmeshError {
  return new AmeshError(MACHINE_CODES.rotation_final, 'The rotation of this machine is being withdrawn.', {
    fix: 'Complete that',
    command: ['amesh', 'rotate', 'withdraw', ...urls],
  });
}
