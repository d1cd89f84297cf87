import { statfsSync } from 'node:fs';

const CIFS = ['SMB', 'mount it for this user alone (uid=USER,dir_mode=0700,file_mode=0600)'] as const;
const FAT = ['FAT or NTFS', 'mount it for this user alone (uid=USER,umask=077)'] as const;
const HOST = ['shared by the host of a virtual machine', 'share it with modes'] as const;

/** By the type that Linux gives them (`f_type` of statfs): those that keep no modes, and how to mount them. */
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

/** Those of which some do: FUSE is sshfs as well as NTFS and the bind mounts of Docker Desktop, 9p the disks of Windows in WSL. */
const DOUBTFUL: Readonly<Record<number, readonly [name: string, mend: string]>> = {
  1702057286: ['FUSE', 'in a container of Docker Desktop, use a named volume'],
  16914839: ['9p', 'in WSL, mount it with the option metadata (/etc/wsl.conf)'],
};

/**
 * Why `chmod` has no effect on a path, or may have none, and the way out; null where its volume is not known for that.
 *
 * @param typeOf the type of the file system of a path; default: what statfs says
 */
export function modelessText(path: string, typeOf = fileSystemType): string | null {
  const type = typeOf(path);
  if (type === null) return null;
  const [name, mend] = MODELESS[type] ?? DOUBTFUL[type] ?? [];
  if (name === undefined) return null;
  const what =
    type in MODELESS
      ? `The volume (${name}) keeps no modes, so chmod changes nothing there`
      : `If chmod changes nothing, the volume (${name}) keeps no modes`;
  return `${what}: use a folder on another one (AUTH_MESH_DIR), or ${mend}. Where nobody else can log in: export AMESH_FOLDER_OWNERS=any`;
}

function fileSystemType(path: string): number | null {
  if (process.platform !== 'linux') return null;
  try {
    return statfsSync(path).type >>> 0;
  } catch {
    return null; // reading it will say why
  }
}
