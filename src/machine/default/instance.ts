import { type Amesh, createAmesh } from '../amesh';

/** The instance of this machine's own folder (AUTH_MESH_DIR, default ~/.amesh). Nothing is read before its first use. */
export const amesh: Amesh = createAmesh();
