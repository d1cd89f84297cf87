export { type Dispatch, signing } from '../adapters/undici/signing';
