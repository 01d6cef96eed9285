import type { BulkSource } from './binance/bulk.ts';
import type { RestSource } from './binance/rest.ts';
import { connectDatabase, type Database } from './db.ts';
import { type Env, loadEnv } from './env.ts';
import { createLog, type Log } from './log.ts';
import { migrate } from './migrate.ts';
import { createProgress, type Progress } from './progress.ts';
import { createRequestLedger } from './request-ledger.ts';

/** What a script works with. Nothing is opened before it is asked for. */
export interface Context {
  env: Env;
  log: Log;
  progress: Progress;
  /** Aborted by SIGINT and SIGTERM: finish or roll back the current batch, then stop. */
  signal: AbortSignal;
  /** 130 or 143 once a signal has come. */
  readonly signalExitCode: number | undefined;
  /** From now on Ctrl-C is for a program that this one started, such as psql. */
  leaveSignalsToChild(): void;
  /** The database, with all pending schema files applied. */
  database(): Promise<Database>;
  rest(): Promise<RestSource>;
  bulk(): Promise<BulkSource>;
  close(): Promise<void>;
}

/** @throws KlinekeepError (78) when the environment makes no sense. */
export function createContext(
  name: string,
  options: { quiet: boolean; env: NodeJS.ProcessEnv; stderr: NodeJS.WritableStream },
): Context {
  const { quiet, stderr } = options;
  const env = loadEnv(options.env);
  const progress = createProgress((line) => log.info(line), quiet ? undefined : stderr);
  const log = createLog(stderr, { quiet, clearLine: progress.clearLine });
  const signals = listenForSignals(log);
  let database: Promise<Database> | undefined;
  let rest: Promise<RestSource> | undefined;
  let bulk: Promise<BulkSource> | undefined;

  const openRest = async (): Promise<RestSource> => {
    database ??= openDatabase(env, name);
    const { sql } = await database;
    const { createRestSource } = await import('./binance/rest.ts');
    return createRestSource(env, {
      ledger: createRequestLedger(sql),
      signal: signals.signal,
      onWait: log.warn,
    });
  };

  return {
    env,
    log,
    progress,
    signal: signals.signal,
    get signalExitCode() {
      return signals.exitCode();
    },
    leaveSignalsToChild: () => {
      signals.stop();
      process.on('SIGINT', () => {});
    },
    database: () => {
      database ??= openDatabase(env, name);
      return database;
    },
    rest: () => {
      rest ??= openRest();
      return rest;
    },
    bulk: () => {
      bulk ??= import('./binance/bulk.ts').then(({ createBulkSource }) =>
        createBulkSource(env, log.warn),
      );
      return bulk;
    },
    close: async () => {
      progress.stop();
      signals.stop();
      await rest?.then((source) => source.close()).catch(() => {});
      await bulk?.then((source) => source.close()).catch(() => {});
      await database?.then((opened) => opened.close()).catch(() => {});
    },
  };
}

async function openDatabase(env: Env, name: string): Promise<Database> {
  const url = env.databaseUrl ?? (await startEmbeddedServer(env));
  const database = await connectDatabase(url, `klinekeep ${name}`);
  try {
    await migrate(database.sql);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function startEmbeddedServer(env: Env): Promise<string> {
  const { startEmbedded } = await import('./embedded.ts');
  return await startEmbedded(env.klinesHome);
}

function listenForSignals(log: Log) {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const listeners = (
    [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const
  ).map(([signal, code]) => {
    const listener = () => {
      // A second one means now: PostgreSQL rolls back whatever is open.
      if (exitCode !== undefined) process.exit(code);
      exitCode = code;
      log.warn(`${signal}: stopping at the next safe point (once more to stop at once)`);
      controller.abort(new Error(`stopped by ${signal}`));
    };
    process.on(signal, listener);
    return [signal, listener] as const;
  });
  return {
    signal: controller.signal,
    exitCode: () => exitCode,
    stop: () => {
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}
