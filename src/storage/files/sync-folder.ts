import { open } from 'node:fs/promises';
import { syncFile } from './sync-file';

// What file systems say that sync no folders, as some network ones.
const CANNOT_SYNC = new Set<unknown>(['EINVAL', 'ENOTSUP']);

/** Without it a power cut can undo the rename, though the file itself is on the disk. */
export async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r').catch(() => null); // Windows opens no folders
  try {
    if (folder !== null) await syncFile(folder);
  } catch (error) {
    if (!CANNOT_SYNC.has((error as { code?: unknown }).code)) throw error;
  } finally {
    await folder?.close();
  }
}
