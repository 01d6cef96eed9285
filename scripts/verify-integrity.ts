import { main, type Script } from '../lib/cli.ts';
import type { Context } from '../lib/context.ts';
import { EXIT } from '../lib/errors.ts';
import { byWorst, describeRow, type Finding, isAtLeast, type Severity } from '../lib/findings.ts';
import { chooseInstruments, type Instrument } from '../lib/instruments.ts';
import { checkInstrument, type InstrumentReport } from '../lib/integrity.ts';
import {
  CHOICE_ARGS,
  type Choice,
  choiceOptions,
  flag,
  instantOption,
  readChoice,
  wholeNumber,
} from '../lib/options.ts';
import { inParallel } from '../lib/parallel.ts';
import { formatCount, formatTable } from '../lib/table.ts';
import { formatShort } from '../lib/time.ts';
import { z } from '../lib/zod.ts';

interface Options extends Choice {
  fromMs: number | undefined;
  toMs: number | undefined;
  compare: number | undefined;
  repair: boolean;
  deep: boolean;
  failOn: 'error' | 'warning';
}

/** Instruments checked at the same time, each on a connection: PostgreSQL reads in parallel anyway. */
const CHECK_CONCURRENCY = 2;

/** Checks every series of the chosen instruments. Changes nothing. */
export async function verifyIntegrity(
  options: Options,
  context: Context,
  instruments: readonly Instrument[],
): Promise<InstrumentReport[]> {
  const { sql } = await context.database();
  const reports: InstrumentReport[] = [];
  context.progress.start(instruments.length, 'instruments');
  await inParallel(instruments.entries(), CHECK_CONCURRENCY, async ([index, instrument]) => {
    context.signal.throwIfAborted();
    reports[index] = await checkInstrument(sql, instrument, {
      interval: options.interval,
      fromMs: options.fromMs,
      toMs: options.toMs,
      isDeep: options.deep,
    });
    context.progress.advance(1, instrument.symbol);
  });
  context.progress.stop();
  return reports;
}
