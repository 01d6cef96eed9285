import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { output } from 'zod';
import { configError } from './errors.ts';
import { z } from './zod.ts';

/** The folder of package.json, to which `.env`, `.klines/` and `sql/` are relative. */
export const PROJECT_DIR = fileURLToPath(new URL('../..', import.meta.url));

const httpUrl = z
  .url({ protocol: /^https?$/, error: 'wanted an address such as https://api.binance.com' })
  .transform((url) => url.replace(/\/+$/, ''));

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,4}$/, `wanted a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `wanted ${min} to ${max}`);

const schema = z
  .object({
    DATABASE_URL: z.string().optional(),
    KLINES_HOME: z.string().default('.klines'),
    BINANCE_SPOT_URL: httpUrl.default('https://api.binance.com'),
    BINANCE_USDM_URL: httpUrl.default('https://fapi.binance.com'),
    BINANCE_BULK_URL: httpUrl.default('https://data.binance.vision'),
    BINANCE_WEIGHT_PERCENT: whole(1, 100).default(80),
    BINANCE_TIMEOUT_S: whole(1, 600).default(15),
    HTTPS_PROXY: httpUrl.optional(),
    HEALTHCHECK_URL: httpUrl.optional(),
  })
  .transform((env) => ({
    /** Unset: the embedded server under `klinesHome`. */
    databaseUrl: env.DATABASE_URL,
    /** Absolute path. */
    klinesHome: resolve(PROJECT_DIR, env.KLINES_HOME),
    spotUrl: env.BINANCE_SPOT_URL,
    usdmUrl: env.BINANCE_USDM_URL,
    bulkUrl: env.BINANCE_BULK_URL,
    /** Percentage, 1 to 100, of the request weight per minute that Binance allows one IP address. */
    weightPercent: env.BINANCE_WEIGHT_PERCENT,
    /** How long Binance may take to answer one request. */
    timeoutMs: env.BINANCE_TIMEOUT_S * 1000,
    httpsProxy: env.HTTPS_PROXY,
    /** Gets a request when a run starts, and one with its exit code when it ends. */
    healthcheckUrl: env.HEALTHCHECK_URL,
  }));

export type Env = output<typeof schema>;

/**
 * Reads the settings from the environment and, where it has none, from `.env` beside package.json.
 * An empty value counts as unset.
 * @throws KlinekeepError (78) naming each invalid variable.
 */
export function loadEnv(source: NodeJS.ProcessEnv): Env {
  const dotEnv = resolve(PROJECT_DIR, '.env');
  if (source === process.env && existsSync(dotEnv)) process.loadEnvFile(dotEnv);

  const set = Object.entries(source).filter(([, value]) => value !== undefined && value !== '');
  const parsed = schema.safeParse({
    HTTPS_PROXY: source.https_proxy || undefined,
    ...Object.fromEntries(set),
  });
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => {
      const name = String(issue.path[0]);
      const value = source[name]?.replace(/\/\/[^@/]*@/, '//***@');
      return `${name} is ${JSON.stringify(value)}: ${issue.message}`;
    });
    throw configError(
      problems.join('\n'),
      'Correct it in the environment or in .env beside package.json (see .env.example).',
    );
  }

  return parsed.data;
}
