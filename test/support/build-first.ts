/** For a run of many files: no test begins while the packages that it uses are built anew. */
export { ensureBuilt as setup } from './built';
