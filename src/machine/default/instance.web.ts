import { AmeshError } from '../../core/errors/amesh-error';
import type { Amesh } from '../amesh';
import { MACHINE_CODES } from '../errors/codes';

function noFileSystem(): never {
  throw new AmeshError(MACHINE_CODES.no_file_system);
}

/** Where there are no files there is no identity of this machine: every method says so. */
export const amesh: Amesh = {
  fetch: async () => noFileSystem(),
  verify: noFileSystem,
  verifier: noFileSystem,
  rawBody: noFileSystem,
  identity: async () => noFileSystem(),
  bootstrapIfNeeded: async () => noFileSystem(),
};

/** @throws AmeshError `no_file_system` */
export const createAmesh: () => Amesh = noFileSystem;
