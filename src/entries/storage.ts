export { StorageNonceStore } from '../storage/storage-nonce-store';
export type { UnstorageDriver, UnstorageLike } from '../storage/unstorage';
