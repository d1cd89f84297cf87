import { NoAnswerKey, readAnswerKey } from '@authmesh/sdk/admin';
import { type DeviceIdentity, readTrustVariables } from '@authmesh/sdk/admin/list';
import { momentText } from '../words/duration';
import { type Finding, failed, ok, skipped, warning } from './finding';

const VARIABLE = 'AMESH_ANSWER_KEY';
const RENEW = 'On the machine with the key of the list: amesh answer-key --for 30d';
const WARNING_SECONDS = 14 * 86_400;

/**
 * Checks whether a server with this environment can prove its answers.
 *
 * @returns null if it has its own key, and AMESH_ANSWER_KEY is not set
 */
export async function checkAnswers(identity: DeviceIdentity | undefined): Promise<Finding | null> {
  const { owners, list } = readTrustVariables(process.env);
  const { [VARIABLE]: text } = process.env;
  const isOwner = owners?.some((owner) => Buffer.from(owner).toString('base64url') === identity?.publicKey);
  if (owners === null || isOwner) {
    if (text === undefined) return null;
    return warning(
      `${VARIABLE} is not used: this machine proves its answers with its own key.`,
      `unset ${VARIABLE}`,
    );
  }
  if (text === undefined)
    return warning(
      `A server here cannot prove its answers: it has AMESH_OWNER_KEY, but no ${VARIABLE}.`,
      RENEW,
    );
  try {
    const key = readAnswerKey(text, { owners, list });
    await key.open();
    const until = momentText(key.expiresAt);
    const leftSeconds = key.expiresAt - Date.now() / 1000;
    if (leftSeconds < 0)
      return failed(`${VARIABLE} ended ${until}: a server here sends its answers unsigned.`, RENEW);
    const found = `A server here proves its answers with ${VARIABLE}, until ${until}.`;
    return leftSeconds < WARNING_SECONDS ? warning(found, RENEW) : ok(found);
  } catch (error) {
    if (error instanceof NoAnswerKey) return failed(`${VARIABLE} ${error.wrong}`, error.fix);
    return skipped(`${VARIABLE} could not be checked: ${(error as Error).message}`);
  }
}
