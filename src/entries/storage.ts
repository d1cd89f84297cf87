export { StorageNonceStore } from '../storage/unstorage/nonce-store';
export type { UnstorageDriver, UnstorageLike, UnstorageMount } from '../storage/unstorage/unstorage';
