import { ROTATION_HEADER, type RotationAnswer } from '../../core/rotation/field';
import type { AnswerHeaders } from '../../core/verify/verdict';

/** What an instance answers to a caller's next key if it cannot change its allow list. */
export const CANNOT_ROTATE: AnswerHeaders = {
  [ROTATION_HEADER]: 'unavailable' satisfies RotationAnswer,
};
