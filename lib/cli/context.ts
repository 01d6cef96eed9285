import { type Env, loadEnv } from '../base/mod.ts';
import type { BulkSource, RestSource } from '../binance/mod.ts';
import type { Database } from '../postgres/mod.ts';
import {
  closeRun,
  createSharedPauses,
  type Klines,
  openKlines,
  openRun,
  type RunResult,
} from '../store/mod.ts';
import { pingHealthcheck } from './healthcheck.ts';
import { createLog, type Log } from './log.ts';
import { writeOut } from './output.ts';
import { createProgress, type Progress } from './progress.ts';

/** What a script works with. Nothing is opened before it is asked for. */
export interface Context {
  env: Env;
  /** The environment as it is, for programs that are started. */
  programEnv: NodeJS.ProcessEnv;
  /** One JSON object is wanted instead of text. */
  wantsJson: boolean;
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
  /** The database if it was opened, to look up why it refused something. */
  openedDatabase(): Promise<Database> | undefined;
  rest(): Promise<RestSource>;
  bulk(): Promise<BulkSource>;
  /**
   * A part of a result too long to be held in memory, to stdout.
   * @throws OutputClosed when nobody reads it any more.
   */
  write(chunk: string): Promise<void>;
  /** Closes what was opened, and writes down how the run ended. */
  close(ending: RunResult): Promise<void>;
}

/** @throws KlinekeepError (78) when the environment makes no sense. */
export function createContext(
  name: string,
  options: {
    quiet: boolean;
    wantsJson: boolean;
    /** Changes nothing, so it is not written down as a run, and no watch hears of it. */
    isDryRun: boolean;
    /** It fails at once where nothing can be written. */
    writes: boolean;
    env: NodeJS.ProcessEnv;
    stdout: NodeJS.WritableStream;
    stderr: NodeJS.WritableStream;
  },
): Context {
  const { quiet, isDryRun, stdout, stderr } = options;
  const env = loadEnv(options.env);
  const healthcheckUrl = isDryRun ? undefined : env.healthcheckUrl;
  const log = createLog(stderr, { quiet });
  const progress = createProgress(log.info, quiet ? undefined : { stderr, stdout });
  const signals = listenForSignals(log);
  const isOnWatch = healthcheckUrl ? pingHealthcheck(healthcheckUrl, 'start') : undefined;
  let database: Promise<Klines> | undefined;
  let runId: string | undefined;
  let rest: Promise<RestSource> | undefined;
  let bulk: Promise<BulkSource> | undefined;

  const openDatabase = (): Promise<Klines> => {
    database ??= openKlines(name, env, { writes: options.writes, connections: 1 }).then(
      async (opened) => {
        if (!isDryRun && opened.notesRuns) runId = await openRun(opened.sql, name);
        return opened;
      },
    );
    return database;
  };
  const openRest = async (): Promise<RestSource> => {
    const { sql, notesRuns } = await openDatabase();
    const { createRestSource } = await import('../binance/mod.ts');
    return createRestSource(env, {
      // A role that only reads cannot share pauses.
      pauses: notesRuns ? createSharedPauses(sql) : undefined,
      signal: signals.signal,
      onWait: log.warn,
    });
  };

  return {
    env,
    programEnv: options.env,
    wantsJson: options.wantsJson,
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
    database: openDatabase,
    openedDatabase: () => database,
    rest: () => {
      rest ??= openRest();
      return rest;
    },
    bulk: () => {
      bulk ??= import('../binance/mod.ts').then(({ createBulkSource }) =>
        createBulkSource(env, log.warn),
      );
      return bulk;
    },
    write: (chunk) => writeOut(stdout, chunk),
    close: async (ending) => {
      progress.stop();
      signals.stop();
      await rest?.then((source) => source.close()).catch(() => {});
      await bulk?.then((source) => source.close()).catch(() => {});
      await database
        ?.then(async (opened) => {
          if (runId !== undefined) await closeRun(opened.sql, runId, ending);
          await opened.close();
        })
        .catch(() => {});
      await isOnWatch;
      if (healthcheckUrl) await pingHealthcheck(healthcheckUrl, ending.exitCode);
    },
  };
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
