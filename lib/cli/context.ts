import { type Env, loadEnv, untilAborted } from '../base/mod.ts';
import type { BulkSource, RestSource } from '../binance/mod.ts';
import type { Market } from '../market/mod.ts';
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

/** What a script works with. The database and the exchange are opened at their first use. */
export interface Context {
  env: Env;
  /** The unchanged environment, for programs that the script starts. */
  programEnv: NodeJS.ProcessEnv;
  /** Whether to print one JSON object instead of text. */
  wantsJson: boolean;
  log: Log;
  progress: Progress;
  /** Aborted by SIGINT and SIGTERM: finish or roll back the current batch, then stop. */
  signal: AbortSignal;
  /** 130 after SIGINT, 143 after SIGTERM. */
  readonly signalExitCode: number | undefined;
  /** Leaves Ctrl-C to a program that the script starts, such as psql. */
  leaveSignalsToChild(): void;
  /** The database, with all pending schema files applied. */
  database(): Promise<Database>;
  /** The database if it was opened, to look up why it refused a statement. */
  openedDatabase(): Promise<Klines> | undefined;
  rest(): Promise<RestSource>;
  bulk(): Promise<BulkSource>;
  /**
   * The exchange's clock, Unix ms, for a run that can do without.
   * @returns undefined when it does not answer within `withinMs`
   */
  exchangeTimeMs(market: Market, withinMs: number): Promise<number | undefined>;
  /**
   * Prints a part of a result that is too long to be kept in memory.
   * @throws OutputClosed when the reader has closed the pipe.
   */
  write(chunk: string): Promise<void>;
  /** Records how the run ended, and closes what was opened. */
  close(result: RunResult): Promise<void>;
}

/** @throws KlinekeepError (78) when a setting is invalid. */
export function createContext(
  name: string,
  options: {
    quiet: boolean;
    wantsJson: boolean;
    /** Changes nothing, so the run is neither recorded nor reported to the health check. */
    isDryRun: boolean;
    /** Fails at once on a database that cannot be written. */
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
  const startPing = healthcheckUrl ? pingHealthcheck(healthcheckUrl, 'start') : undefined;
  let runId: string | undefined;

  const database = once(async (): Promise<Klines> => {
    const opened = await openKlines(name, env, { writes: options.writes, connections: 1 });
    if (!isDryRun && opened.notesRuns) runId = await openRun(opened.sql, name);
    return opened;
  });
  const rest = once(async () => {
    const { sql, notesRuns } = await database.get();
    const { createRestSource } = await import('../binance/mod.ts');
    return createRestSource(env, {
      // A role that only reads cannot share pauses.
      pauses: notesRuns ? createSharedPauses(sql) : undefined,
      signal: signals.signal,
      onWait: log.warn,
    });
  });
  const exchangeTimeMs: Context['exchangeTimeMs'] = async (market, withinMs) => {
    const { sql, notesRuns } = await database.get();
    const { createRestSource } = await import('../binance/mod.ts');
    const signal = AbortSignal.any([signals.signal, AbortSignal.timeout(withinMs)]);
    // A source of its own, so that no retry outlives the answer.
    const pauses = notesRuns ? createSharedPauses(sql) : undefined;
    const source = createRestSource(env, { pauses, signal, onWait: () => {} });
    try {
      return await untilAborted(source.serverTimeMs(market), signal);
    } catch {
      signals.signal.throwIfAborted();
      return undefined;
    } finally {
      await source.close();
    }
  };
  const bulk = once(async () => {
    const { createBulkSource } = await import('../binance/mod.ts');
    return createBulkSource(env, log.warn);
  });

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
    database: database.get,
    openedDatabase: database.started,
    rest: rest.get,
    bulk: bulk.get,
    exchangeTimeMs,
    write: (chunk) => writeOut(stdout, chunk),
    close: async (result) => {
      progress.stop();
      signals.stop();
      for (const source of [rest.started(), bulk.started()])
        await source?.then((each) => each.close()).catch(() => {});
      await database
        .started()
        ?.then(async (opened) => {
          if (runId !== undefined) await closeRun(opened.sql, runId, result);
          await opened.close();
        })
        .catch(() => {});
      await startPing;
      if (healthcheckUrl) await pingHealthcheck(healthcheckUrl, result.exitCode);
    },
  };
}

/** Opens something at its first use, and only once. */
function once<T>(open: () => Promise<T>) {
  let opened: Promise<T> | undefined;
  return {
    get: () => {
      opened ??= open();
      return opened;
    },
    /** Undefined before the first use. */
    started: () => opened,
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
      // On a second signal the process ends, and PostgreSQL rolls back open transactions.
      if (exitCode !== undefined) process.exit(code);
      exitCode = code;
      log.warn(`${signal}: stopping at the next safe point (send it again to stop at once)`);
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
