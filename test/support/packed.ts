/** Whether the packed packages are what is tested, and no source is there. See scripts/test-packed.mjs. */
export const isPacked = process.env.AMESH_PACKED !== undefined;
