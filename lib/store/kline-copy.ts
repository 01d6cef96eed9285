import {
  floorToGrid,
  type Interval,
  maxStepMs,
  type Series,
  type TimeRange,
  whyRejected,
} from '../market/mod.ts';
import { CANDLE_COLUMNS } from '../postgres/mod.ts';
import type { Page } from './page.ts';

export interface RejectedKline {
  /** The line as it was sent. */
  raw: string;
  reason: string;
}

/** The columns of a row, in its order: those of klines except the two with a default. */
export const COPY_COLUMNS = `(instrument_id, interval, ${CANDLE_COLUMNS.join(', ')})`;

/** PGCOPY signature, no flags, no extension. */
const COPY_HEADER = Buffer.from('PGCOPY\n\u00ff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
/** A field count of -1 ends the data. */
const COPY_TRAILER = Buffer.from([0xff, 0xff]);

const NOTHING = Buffer.alloc(0);

const COMMA = 44;
const DOT = 46;
const MINUS = 45;
const NEWLINE = 10;
const RETURN = 13;
const ZERO = 48;
/** '0000' as if it were digits. */
const ZEROS = 1111 * ZERO;
/** int4 length and int8 microseconds. */
const TIME_BYTES = 12;
/** numeric's sign and dscale. */
const NEGATIVE_WITH_8_DECIMALS = (0x4000 << 16) | 8;
/** 13 columns: 2 + (8 + 6) + 2·12 + 8·30 + 8 bytes at the most. */
const MAX_ROW_BYTES = 288;
const COPY_FIELDS = 13;
/** PostgreSQL stores a chunk while the next one is encoded. */
const LINES_PER_CHUNK = 4_000;
/** The shortest possible line: two times, and ten more fields of at least one character. */
const MIN_LINE_BYTES = 32;
const PG_EPOCH_MS = Date.UTC(2000, 0, 1);
const FIRST_MICROSECONDS = 1e14;
const MAX_INT4 = 2_147_483_647;
/** Digits before the decimal point: numeric(28, 8) has no more. */
const MAX_WHOLE_DIGITS = 20;
/** Digits of a time or a count: a double represents them exactly. */
const MAX_INTEGER_DIGITS = 16;
/** Rejected lines that are stored of one file: enough to see what is wrong with it. */
const MAX_KEPT = 10_000;
/** Positions of the prices among the eight decimals. */
const PRICES = 4;

/**
 * Reads klines as CSV lines and writes them in PostgreSQL's binary COPY format: cheaper than
 * splitting strings here, and PostgreSQL takes it in two thirds of the time of text.
 *
 * The fast path recognises only good rows; all others go to `whyRejected`, which says why.
 */
export class KlineEncoder {
  /** Candles written so far. */
  count = 0;
  /** How many of those open off the interval's grid. */
  offGrid = 0;
  /** Lines that are no candles. */
  rejectedCount = 0;
  /** The first of them. */
  readonly rejected: RejectedKline[] = [];
  /** The open times of the candles that are written. */
  readonly wanted: TimeRange;
  private csv: Buffer;
  private readonly pieces: Page['pieces'];
  private readonly asked: TimeRange;
  private readonly interval: Interval;
  private readonly askedAtMs: number;
  private readonly longestMs: number;
  /** instrument_id and interval, the same in every row. */
  private readonly rowStart: Buffer;
  /** Where the next field of the line begins. */
  private at = 0;
  private out = Buffer.alloc(0);
  private outAt = 0;

  constructor(series: Series, page: Page) {
    this.csv = page.csv;
    this.pieces = page.pieces;
    this.asked = page.asked;
    this.wanted = page.wanted ?? page.asked;
    this.interval = series.interval;
    this.askedAtMs = page.askedAtMs;
    this.longestMs = 2 * maxStepMs(series.interval);
    const interval = Buffer.from(series.interval);
    this.rowStart = Buffer.alloc(14 + interval.length);
    this.rowStart.writeInt16BE(COPY_FIELDS, 0);
    this.rowStart.writeInt32BE(4, 2);
    this.rowStart.writeInt32BE(series.instrument.id, 6);
    this.rowStart.writeInt32BE(interval.length, 10);
    interval.copy(this.rowStart, 14);
  }

  /** The data of a COPY … (format binary), in chunks; can be read only once. */
  data(): Iterable<Buffer> | AsyncIterable<Buffer> {
    return this.pieces ? this.chunksOfPieces(this.pieces()) : this.chunks();
  }

  /** The same for lines that are in memory. */
  *chunks(): Generator<Buffer> {
    yield* this.encode(COPY_HEADER, COPY_TRAILER);
  }

  private async *chunksOfPieces(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    yield COPY_HEADER;
    for await (const piece of pieces) {
      this.csv = piece;
      yield* this.encode(NOTHING, NOTHING);
    }
    yield COPY_TRAILER;
  }

  /** Encodes the lines of `csv`. */
  private *encode(before: Buffer, after: Buffer): Generator<Buffer> {
    const { csv } = this;
    // One chunk for a REST page: each chunk is a separate write to the server.
    const lines = Math.min(LINES_PER_CHUNK, Math.ceil(csv.length / MIN_LINE_BYTES));
    let start = 0;
    while (true) {
      this.out = Buffer.allocUnsafe(before.length + lines * MAX_ROW_BYTES + after.length);
      this.outAt = start === 0 ? before.copy(this.out) : 0;
      for (let line = 0; line < lines && start < csv.length; line++) {
        const at = csv.indexOf(NEWLINE, start);
        const end = at === -1 ? csv.length : at;
        const last = end > start && csv[end - 1] === RETURN ? end - 1 : end;
        if (last > start) this.encodeLine(start, last);
        start = end + 1;
      }
      if (start >= csv.length) this.outAt += after.copy(this.out, this.outAt);
      yield this.out.subarray(0, this.outAt);
      if (start >= csv.length) return;
    }
  }

  private encodeLine(start: number, end: number): void {
    const rowAt = this.outAt;
    if (this.writeRow(start, end)) {
      this.count += 1;
      return;
    }
    this.outAt = rowAt;
    const raw = this.csv.toString('utf8', start, end);
    const reason = whyRejected(raw.split(','), this.asked, this.interval);
    // Without a reason it is a candle, but still forming or not wanted.
    if (reason === undefined) return;
    this.rejectedCount += 1;
    if (this.rejected.length < MAX_KEPT) this.rejected.push({ raw, reason });
  }

  /**
   * One pass over the line, by hand: this is where the time of a bulk load goes on our side. It accepts
   * what `whyRejected` accepts: change both (tests/store/kline-copy.test.ts compares them).
   * @returns false: not a row to store, what was written of it is to be undone
   */
  private writeRow(start: number, end: number): boolean {
    const { csv, out, rowStart } = this;
    const timesAt = this.outAt + rowStart.length;
    for (let at = 0; at < rowStart.length; at++) out[this.outAt + at] = rowStart[at]!;
    this.outAt = timesAt + 2 * TIME_BYTES;
    this.at = start;

    const openMs = this.readTimeMs();
    const isWanted = openMs >= this.wanted.fromMs && openMs < this.wanted.toMs;
    const isAsked = openMs >= this.asked.fromMs && openMs < this.asked.toMs;
    if (!isWanted || !isAsked) return false;
    for (let price = 0; price < PRICES; price++) {
      if (!this.writeDecimal(true)) return false;
    }
    if (!this.writeDecimal(false)) return false;
    const closeMs = this.readTimeMs();
    if (!(closeMs < this.askedAtMs)) return false;
    if (closeMs < openMs || closeMs > openMs + this.longestMs) return false;
    this.writeTime(timesAt, openMs);
    this.writeTime(timesAt + TIME_BYTES, closeMs);
    if (!this.writeDecimal(false)) return false;
    const trades = this.readWhole();
    if (!(trades <= MAX_INT4)) return false;
    this.writeInt(this.outAt, 4);
    this.writeInt(this.outAt + 4, trades);
    this.outAt += 8;
    if (!this.writeDecimal(false)) return false;
    if (!this.writeDecimal(false)) return false;

    for (let at = this.at; at < end; at++) {
      if (csv[at] === COMMA) return false;
    }
    // What was read ended with a comma, but it may have been the next line's.
    if (this.at > end) return false;
    if (floorToGrid(this.interval, openMs) !== openMs) this.offGrid += 1;
    return true;
  }

  /** Digits up to a comma, as many as a double holds exactly; NaN for anything else. */
  private readWhole(): number {
    const { csv } = this;
    const start = this.at;
    let at = start;
    let value = 0;
    for (let digit = csv[at]! - ZERO; digit >= 0 && digit <= 9; digit = csv[++at]! - ZERO)
      value = value * 10 + digit;
    this.at = at + 1;
    if (at === start || at - start > MAX_INTEGER_DIGITS || csv[at] !== COMMA) return Number.NaN;
    return value;
  }

  private readTimeMs(): number {
    const value = this.readWhole();
    return value >= FIRST_MICROSECONDS ? Math.floor(value / 1000) : value;
  }

  /** A timestamptz: microseconds since 2000. */
  private writeTime(outAt: number, timeMs: number): void {
    const micros = (timeMs - PG_EPOCH_MS) * 1000;
    const high = Math.floor(micros / 2 ** 32);
    this.writeInt(outAt, 8);
    this.writeInt(outAt + 4, high);
    this.writeInt(outAt + 8, micros - high * 2 ** 32);
  }

  private writeInt(outAt: number, value: number): void {
    const { out } = this;
    out[outAt] = value >>> 24;
    out[outAt + 1] = value >>> 16;
    out[outAt + 2] = value >>> 8;
    out[outAt + 3] = value;
  }

  /**
   * A decimal up to a comma, as a numeric: digits in base 10,000, those behind the point padded
   * to eight decimals, zeros at the end left out.
   * @returns false when it is not a plain decimal, or not above zero where it must be
   */
  private writeDecimal(mustBePositive: boolean): boolean {
    const { csv, out } = this;
    const isNegative = csv[this.at] === MINUS;
    const wholeAt = isNegative ? this.at + 1 : this.at;
    const dot = this.skipDigits(wholeAt);
    const end = csv[dot] === DOT ? this.skipDigits(dot + 1) : dot;
    const digits = dot - wholeAt;
    const decimals = end - dot - 1;
    if (csv[end] !== COMMA || digits < 1 || digits > MAX_WHOLE_DIGITS) return false;
    if (decimals === 0 || decimals > 8) return false;
    this.at = end + 1;

    const fieldAt = this.outAt;
    const groupsAt = fieldAt + 12;
    let outAt = groupsAt;
    let usedTo = groupsAt;
    // Groups of four digits, counted from the point: the first one may be shorter.
    const groups = (digits + 3) >> 2;
    for (let group = 0; group < groups + 2; group++) {
      const from = group < groups ? dot - 4 * (groups - group) : dot + 1 + 4 * (group - groups);
      let value = 0;
      if (from >= wholeAt && from + 4 <= end) {
        value =
          csv[from]! * 1000 + csv[from + 1]! * 100 + csv[from + 2]! * 10 + csv[from + 3]! - ZEROS;
      } else {
        for (let at = from; at < from + 4; at++)
          value = value * 10 + (at < wholeAt || at >= end ? 0 : csv[at]! - ZERO);
      }
      out[outAt] = value >> 8;
      out[outAt + 1] = value;
      outAt += 2;
      if (value !== 0) usedTo = outAt;
    }
    const isZero = usedTo === groupsAt;
    if (mustBePositive && (isNegative || isZero)) return false;

    const bytes = usedTo - groupsAt;
    this.writeInt(fieldAt, 8 + bytes);
    this.writeInt(fieldAt + 4, ((bytes >> 1) << 16) | (groups - 1));
    this.writeInt(fieldAt + 8, isNegative && !isZero ? NEGATIVE_WITH_8_DECIMALS : 8);
    this.outAt = usedTo;
    return true;
  }

  private skipDigits(from: number): number {
    const { csv } = this;
    let at = from;
    for (let digit = csv[at]! - ZERO; digit >= 0 && digit <= 9; ) digit = csv[++at]! - ZERO;
    return at;
  }
}
