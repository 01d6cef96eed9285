import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type ExitCode, KlinekeepError } from '../lib/base/mod.ts';
import { type Context, defineScript, main, type Outcome, option } from '../lib/cli/mod.ts';
import { embeddedStatus, startEmbedded, stopEmbedded } from '../lib/embedded/mod.ts';
import { formatAddress, parseAddress, withoutPassword } from '../lib/postgres/mod.ts';

const ACTIONS = ['start', 'stop', 'status', 'psql', 'url'] as const;

export const script = defineScript({
  name: 'db',
  summary:
    'Start, stop or inspect the embedded PostgreSQL; open psql, or print the address of the database in use',
  examples: ['status', 'url', 'psql', "psql --command 'select count(*) from all_klines'", 'stop'],
  options: {
    action: option.oneOf(ACTIONS).meta({ positional: true, description: ACTIONS.join(', ') }),
    command: option.text
      .optional()
      .meta({ valueHint: 'sql', description: 'With psql: run this SQL and exit' }),
  },
  read(options, refuse) {
    if (options.command !== undefined && options.action !== 'psql')
      refuse('--command is given without psql');
    return options;
  },
  async run({ action, command }, context) {
    const { klinesHome: home, databaseUrl } = context.env;
    switch (action) {
      case 'start':
        await startEmbedded(home);
        return await readStatus(home);
      case 'stop': {
        const wasRunning = await stopEmbedded(home);
        return { json: { stopped: wasRunning }, text: wasRunning ? 'stopped' : 'was not running' };
      }
      case 'status': {
        const status = await readStatus(home);
        if (databaseUrl === undefined) return status;
        const address = formatAddress(parseAddress(databaseUrl, context.programEnv));
        return {
          json: { ...status.json, databaseUrl: address },
          text: `DATABASE_URL is in use: ${address}\nThe embedded server is not: ${status.text}`,
        };
      }
      case 'url': {
        const url = databaseUrl ?? (await startEmbedded(home));
        return { json: { url }, text: url };
      }
      case 'psql': {
        const url = databaseUrl ?? (await startEmbedded(home));
        const exitCode = await openPsql(url, command, context);
        return { exitCode, json: { exitCode } };
      }
    }
  },
});

async function readStatus(home: string): Promise<Outcome & { text: string }> {
  const status = await embeddedStatus(home);
  const json = { home, ...status };
  if (status.state === 'absent') return { json, text: `no database yet in ${home}` };
  if (status.state === 'stopped') return { json, text: `stopped; data in ${home}` };
  const { version, port, pid } = status;
  const server = `PostgreSQL ${version} on 127.0.0.1:${port}, process ${pid}`;
  return { json, text: `running: ${server}, data in ${home}` };
}

/** @returns psql's own exit code */
async function openPsql(
  url: string,
  command: string | undefined,
  context: Context,
): Promise<ExitCode> {
  context.leaveSignalsToChild();
  const { password } = parseAddress(url, context.programEnv);
  const address = withoutPassword(url);
  const words = command === undefined ? [address] : ['--command', command, address];
  // Every user of this machine can read a command's arguments, but not its environment.
  const env = { ...context.programEnv, ...(password ? { PGPASSWORD: password } : {}) };
  const psql = spawn('psql', words, { stdio: 'inherit', env });
  try {
    const [code] = await once(psql, 'exit');
    return (code ?? 1) as ExitCode;
  } catch (error) {
    throw new KlinekeepError('config', 'Cannot find psql on this machine.', {
      hint:
        'Install it (Debian, Ubuntu: apt install postgresql-client; macOS: brew install libpq), or use\n' +
        'another client with the address that `just db url` prints.',
      cause: error,
    });
  }
}

await main(import.meta, script);
