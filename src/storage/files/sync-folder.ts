import { open } from 'node:fs/promises';
import { syncFile } from './sync-file';

// The errors of file systems that cannot sync a folder, such as some network file systems.
const CANNOT_SYNC = new Set<unknown>(['EINVAL', 'ENOTSUP']);

/** Waits until the entries of a folder are on disk. Without it, a power cut can undo a rename. */
export async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r').catch(() => null); // Windows cannot open folders
  try {
    if (folder !== null) await syncFile(folder);
  } catch (error) {
    if (!CANNOT_SYNC.has((error as { code?: unknown }).code)) throw error;
  } finally {
    await folder?.close();
  }
}
