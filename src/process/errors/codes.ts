import { defineCodes } from '../../core/errors/define-codes';

/** What is wrong with this process's surroundings. */
export const PROCESS_CODES = /* @__PURE__ */ defineCodes({
  identity_unreadable: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The identity on this machine cannot be read.',
    fix: 'Check the files in AUTH_MESH_DIR, and who may read them.',
  },
});
