import { AmeshError } from '../../core/errors/amesh-error';
import type { Amesh } from '../amesh';
import { MACHINE_CODES } from '../errors/codes';

function noFileSystem(): never {
  throw new AmeshError(MACHINE_CODES.no_file_system);
}

/** A runtime without files has no folder, so every method throws `no_file_system`. */
export const amesh: Amesh = {
  fetch: async () => noFileSystem(),
  sign: async () => noFileSystem(),
  verify: noFileSystem,
  verifier: noFileSystem,
  rawBody: noFileSystem,
  identity: async () => noFileSystem(),
  bootstrapIfNeeded: async () => noFileSystem(),
};

/** @throws AmeshError `no_file_system` */
export const createAmesh: () => Amesh = noFileSystem;
