import { defineCodes } from '../../core/errors/define-codes';

/** Codes for faults of this process's environment. */
export const PROCESS_CODES = /* @__PURE__ */ defineCodes({
  identity_unreadable: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The identity on this machine cannot be read.',
    fix: 'Check the files in AUTH_MESH_DIR and their permissions.',
  },
});
