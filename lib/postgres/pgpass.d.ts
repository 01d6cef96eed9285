/** pgpass ships no types. Its main entry reads only the file that PGPASSFILE names, so its parts are used. */
declare module 'pgpass/lib/helper.js' {
  import type { Stats } from 'node:fs';
  import type { Readable } from 'node:stream';

  interface Login {
    host: string;
    port: number;
    database: string;
    user: string;
  }
  const helper: {
    /** Whether the file's permissions are narrow enough; warns on stderr if not. */
    usePgPass(file: Stats, path: string): boolean;
    getPassword(login: Login, file: Readable, done: (password: string | undefined) => void): void;
  };
  export default helper;
}
