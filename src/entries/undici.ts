export { type Dispatch, type Signing, signing } from '../adapters/undici/signing';
