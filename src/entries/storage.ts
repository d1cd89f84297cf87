export { StorageNonceStore } from '../storage/unstorage/nonce-store';
export type { UnstorageDriver, UnstorageLike } from '../storage/unstorage/unstorage';
