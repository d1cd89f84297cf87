import { FileStore } from '@authmesh/sdk/admin';
import { vi } from 'vitest';

/** Something else that happens right before the next command takes the lock of the folder. */
export function beforeLock(what: () => Promise<unknown>): void {
  const { locked } = FileStore.prototype;
  const spied = vi.spyOn(FileStore.prototype, 'locked').mockImplementation(async function (
    this: FileStore,
    name,
    action,
  ) {
    if (name === 'setup') {
      spied.mockRestore();
      await what();
    }
    return locked.call(this, name, action);
  });
}
