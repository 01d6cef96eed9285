/**
 * Times are Unix milliseconds everywhere, and UTC wherever a calendar is needed. date-fns works
 * in local time unless its dates say otherwise, so only this file imports it.
 */
import { UTCDate } from '@date-fns/utc';
import { addMonths } from 'date-fns/addMonths';
import { startOfMonth } from 'date-fns/startOfMonth';
import { sub } from 'date-fns/sub';

export { addMonths, startOfMonth };

export const DAY_MS = 86_400_000;

/** A date for which date-fns calculates in UTC. */
export function toUtc(timeMs: number): UTCDate {
  return new UTCDate(timeMs);
}

/** `2023-03-24T12:40:00Z`, with milliseconds only if they are not zero. */
export function formatTime(timeMs: number): string {
  return new Date(timeMs).toISOString().replace('.000Z', 'Z');
}

/** `2023-03-24 12:40`, or only the day at midnight: for tables and progress lines. */
export function formatShort(timeMs: number): string {
  const iso = new Date(timeMs).toISOString();
  return timeMs % DAY_MS === 0 ? iso.slice(0, 10) : `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

/** `45s`, `12m 05s`, `3h 07m`, `2d 04h`. */
export function formatDuration(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000);
  const pad = (value: number) => String(value).padStart(2, '0');
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${pad(seconds % 60)}s`;
  if (seconds < 86_400)
    return `${Math.floor(seconds / 3600)}h ${pad(Math.floor((seconds % 3600) / 60))}m`;
  return `${Math.floor(seconds / 86_400)}d ${pad(Math.floor((seconds % 86_400) / 3600))}h`;
}

/** A span for PostgreSQL, in seconds: version 14 cannot read 25 days in milliseconds. */
export function spanForSql(spanMs: number): string {
  return `${spanMs / 1000} seconds`;
}

/** `45s`, `12m`, `3h`, `4d`: only the largest unit. */
export function formatSpan(durationMs: number): string {
  for (const [unit, unitMs] of [
    ['d', DAY_MS],
    ['h', 3_600_000],
    ['m', 60_000],
  ] as const) {
    if (durationMs >= unitMs) return `${Math.floor(durationMs / unitMs)}${unit}`;
  }
  return `${Math.floor(durationMs / 1000)}s`;
}

/**
 * Reads a length of time such as `90s`, `10m`, `36h`, `2d` or `1w`.
 * @returns ms; undefined when the text is not a span or the span is zero
 */
export function parseSpan(text: string): number | undefined {
  const span = /^(\d{1,6})(s|m|h|d|w)$/.exec(text);
  const units = { s: 1000, m: 60_000, h: 3_600_000, d: DAY_MS, w: 7 * DAY_MS };
  return span ? Number(span[1]) * units[span[2] as keyof typeof units] || undefined : undefined;
}

/** The start of the UTC day of `timeMs`. */
export function startOfDay(timeMs: number): number {
  return Math.floor(timeMs / DAY_MS) * DAY_MS;
}

const ISO =
  /^(\d{4}-\d{2})(?:-(\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:?\d{2})?)?)?$/;
const AGO = /^(\d{1,6})(m|h|d|w|mo|y)$/;
const AGO_UNITS = {
  m: 'minutes',
  h: 'hours',
  d: 'days',
  w: 'weeks',
  mo: 'months',
  y: 'years',
} as const;

/**
 * Reads an instant: an ISO month, date or time (UTC unless it has a zone), a span back from `nowMs`
 * such as `90m`, `36h`, `400d`, `8w`, `6mo` or `5y`, or `now`.
 * @returns Unix ms; undefined when the text is none of these, not in the calendar, or before 1970
 */
export function parseInstant(text: string, nowMs: number): number | undefined {
  if (text === 'now') return nowMs;

  const ago = AGO.exec(text);
  if (ago) {
    const unit = AGO_UNITS[ago[2] as keyof typeof AGO_UNITS];
    const timeMs = sub(toUtc(nowMs), { [unit]: Number(ago[1]) }).getTime();
    return timeMs >= 0 ? timeMs : undefined;
  }

  const iso = ISO.exec(text);
  if (!iso) return undefined;
  const [, month, day = '01', time = '00:00', zone = 'Z'] = iso;
  const local = `${month}-${day}T${time}`;
  const asUtc = new Date(`${local}Z`);
  // A day that does not exist rolls over (2023-02-30 becomes March 2nd): then the text differs.
  if (Number.isNaN(asUtc.getTime()) || !asUtc.toISOString().startsWith(`${month}-${day}`))
    return undefined;
  const timeMs = Date.parse(`${local}${zone}`);
  return timeMs >= 0 ? timeMs : undefined;
}
