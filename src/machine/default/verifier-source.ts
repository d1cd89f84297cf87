import { assertOptions } from '../../core/options';
import type { VerifyOptions } from '../../core/verify/options';
import type { Verifier } from '../../core/verify/verify';
import type { Env } from '../../process/home';
import { hideSecret, readSecret } from '../../process/secrets';
import { ANSWER_KEY_VARIABLE } from '../answers/mounted-answer-key';
import { type Bindings, createVerifierWithoutFiles, type WorkerOptions } from '../worker';
import { amesh } from './instance';

/** {@link WorkerOptions}, and the instance to use if they name no allow list. */
export interface ServerOptions extends WorkerOptions {
  /** Default: the instance of this machine's folder. Workers have none. */
  readonly amesh?:
    | {
        /** See `Amesh.verifier()`. */
        readonly verifier: (options?: VerifyOptions) => Verifier;
      }
    | undefined;
}

/** Options, or a function that returns them for the variables and bindings of the first request. */
// biome-ignore lint/suspicious/noExplicitAny: the author of the function knows its bindings
export type ServerSettings<Env = any> = ServerOptions | ((env: Env) => ServerOptions);

/** Returns the one verifier for given settings. */
export type VerifierSource = (env: unknown) => Verifier;

/**
 * On a runtime with files: the verifier of an instance, unless the options name an allow list.
 *
 * @throws TypeError for a wrong option
 */
export function toVerifierSource(settings: ServerSettings = {}): VerifierSource {
  const env: Bindings = process.env;
  if (typeof settings === 'function') {
    let verifier: Verifier | undefined;
    return () => {
      verifier ??= create(settings(env), env);
      return verifier;
    };
  }
  const verifier = create(settings, env);
  return () => verifier;
}

/** Returns AMESH_ANSWER_KEY, and removes it from `process.env`, like every secret. Later verifiers still find it. */
export function takeAnswerKey(env: Bindings): string | undefined {
  const value = readSecret(env as Env, ANSWER_KEY_VARIABLE);
  hideSecret(env as Env, ANSWER_KEY_VARIABLE);
  return value;
}

function create(settings: ServerOptions, env: Bindings): Verifier {
  assertOptions('verify()', settings);
  const { amesh: instance, ...options } = settings;
  if (options.allowList !== undefined) {
    if (instance !== undefined) throw new TypeError('Give amesh or allowList: each says whose list counts.');
    return createVerifierWithoutFiles(options, env, takeAnswerKey(env));
  }
  const alone = (['ownerKey', 'deviceId', 'minRevision', 'maxStaleSeconds', 'answerKey'] as const).find(
    (name) => options[name] !== undefined,
  );
  if (alone !== undefined) throw new TypeError(`${alone} belongs to an allowList: give both.`);
  return (instance ?? amesh).verifier(options as VerifyOptions);
}
