import { statfsSync } from 'node:fs';

const CIFS = ['SMB', 'mount it for this user only (uid=USER,dir_mode=0700,file_mode=0600)'] as const;
const FAT = ['FAT or NTFS', 'mount it for this user only (uid=USER,umask=077)'] as const;
const HOST = ['shared by the host of a virtual machine', 'share it with modes'] as const;

/** File systems without modes, by their type in Linux (`f_type` of statfs), and how to mount them. */
const MODELESS: Readonly<Record<number, readonly [name: string, mend: string]>> = {
  4283649346: CIFS, // cifs
  4266872130: CIFS, // smb2
  20859: CIFS, // smb
  19780: FAT, // vfat
  538032816: FAT, // exfat
  1936094318: FAT, // ntfs3
  2020557398: HOST, // vboxsf
  3133910204: HOST, // vmhgfs
};

/**
 * File systems that may lack modes. FUSE is sshfs, but also NTFS and bind mounts of Docker Desktop. 9p is used for Windows disks in
 * WSL.
 */
const DOUBTFUL: Readonly<Record<number, readonly [name: string, mend: string]>> = {
  1702057286: ['FUSE', 'in a container of Docker Desktop, use a named volume'],
  16914839: ['9p', 'in WSL, mount it with the option metadata (/etc/wsl.conf)'],
};

/**
 * Why `chmod` has no effect on a path, or may have none, and what to do; null for all other file systems.
 *
 * @param typeOf returns the file system type of a path; default: statfs
 */
export function modelessText(path: string, typeOf = fileSystemType): string | null {
  const type = typeOf(path);
  if (type === null) return null;
  const [name, mend] = MODELESS[type] ?? DOUBTFUL[type] ?? [];
  if (name === undefined) return null;
  const what =
    type in MODELESS
      ? `The volume (${name}) has no modes, so chmod has no effect`
      : `If chmod has no effect, the volume (${name}) has no modes`;
  return `${what}: use a folder on another volume (AUTH_MESH_DIR), or ${mend}. If nobody else can log in: export AMESH_FOLDER_OWNERS=any`;
}

function fileSystemType(path: string): number | null {
  if (process.platform !== 'linux') return null;
  try {
    return statfsSync(path).type >>> 0;
  } catch {
    return null; // a later read reports the error
  }
}
