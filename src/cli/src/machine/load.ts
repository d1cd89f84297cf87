/**
 * Imports packages on demand and keeps them: a process that gave up root may no longer be able to read the packages, or
 * even to find them.
 */
const loaded = new Map<string, Promise<unknown>>();

function once<T>(name: string, load: () => Promise<T>): Promise<T> {
  const known = loaded.get(name) ?? load();
  loaded.set(name, known);
  return known as Promise<T>;
}

export const loadCore = () => once('core', () => import('@authmesh/sdk/core'));
export const loadList = () => once('list', () => import('@authmesh/sdk/admin/list'));
export const loadAdmin = () => once('admin', () => import('@authmesh/sdk/admin'));
export const loadRelay = () => once('relay', () => import('@authmesh/relay'));

/** Loads everything that a command may need, apart from its own file. */
export async function loadAll(): Promise<void> {
  const { loadLate } = await loadAdmin();
  await Promise.all([loadCore(), loadRelay(), loadLate()]);
}
