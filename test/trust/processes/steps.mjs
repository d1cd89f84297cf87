// What a process does to its files, step by step.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/**
 * Calls back right before each thing that this process does to its files from here on. At its end it says how many calls there
 * were.
 *
 * @param {(step: number) => void} before gets the number of the step, from 0
 * @returns for a step of another kind: counts it, and calls back another function where it is given
 */
export async function atStep(before) {
  let count = 0;
  const step = (hook = before) => hook(count++);
  const probe = await fs.promises.open(process.execPath, 'r');
  const handle = Object.getPrototypeOf(probe);
  await probe.close();
  for (const [object, names] of [
    [fs, ['renameSync', 'unlinkSync', 'rmdirSync']],
    [fs.promises, ['open', 'mkdir', 'rename', 'rm', 'chmod']],
  ]) {
    for (const name of names) {
      const original = object[name];
      object[name] = (...args) => {
        step();
        return original.apply(object, args);
      };
    }
  }
  // What is written through a handle is a step, too.
  for (const name of ['writeFile', 'chmod', 'sync']) {
    const original = handle[name];
    handle[name] = function (...args) {
      step();
      return original.apply(this, args);
    };
  }
  syncBuiltinESMExports();
  process.on('exit', () => process.stdout.write(`steps ${count}\n`));
  return step;
}
