import type { KeyBackend } from './backend';

/** What is known about a backend before its code is loaded. */
type KeyTraits = Pick<KeyBackend, 'id' | 'isOutsideProcess' | 'mayAskPerson'>;

/** The methods that the code of a backend has. */
export type KeyMethods = Omit<KeyBackend, keyof KeyTraits>;

/** Loads the code of a backend. */
type Load = () => Promise<KeyMethods>;

const loads: Load[] = [];

/** A backend whose code is loaded when it is first used: a process uses only one, and each needs other modules. */
export function lateBackend(traits: KeyTraits, load: Load): KeyBackend {
  loads.push(load);
  return Object.freeze({
    ...traits,
    describe: async (...args) => (await load()).describe(...args),
    probe: async (...args) => (await load()).probe(...args),
    create: async (...args) => (await load()).create(...args),
    open: async (...args) => (await load()).open(...args),
    remove: async (...args) => (await load()).remove(...args),
  } satisfies KeyBackend);
}

/** Loads the code of all backends. Call it before a process gives up the right to read its packages. */
export async function loadBackends(): Promise<void> {
  await Promise.all(loads.map((load) => load()));
}
