export { StorageNonceStore } from './storage-nonce-store';
export type { UnstorageDriver, UnstorageLike } from './unstorage';
