import { ROTATION_HEADER, type RotationAnswer } from '../../core/rotation/field';
import type { AnswerHeaders } from '../../core/verify/verdict';

/** The verdict about a caller's next key if this instance cannot change its allow list. */
export const CANNOT_ROTATE: AnswerHeaders = {
  [ROTATION_HEADER]: 'unavailable' satisfies RotationAnswer,
};
