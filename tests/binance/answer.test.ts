import { describe, expect, test } from 'vitest';
import {
  BannedError,
  checkAnswer,
  RateLimitedError,
  TransientError,
  UnknownSymbolError,
} from '../../lib/binance/answer.ts';

const NOW = Date.UTC(2024, 2, 10, 12, 30);
const MINUTE = 60_000;
const URL = 'https://api.binance.com/api/v3/klines?symbol=XYZUSDT';

interface Answer {
  status?: number;
  body: unknown;
  headers?: Record<string, string>;
  exchangeNowMs?: number | undefined;
}

/** What an answer that arrives at NOW means. */
function check({ status = 200, body, headers = {}, exchangeNowMs = NOW }: Answer): unknown {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  try {
    return checkAnswer({ status, headers, body: Buffer.from(text) }, URL, {
      nowMs: NOW,
      exchangeNowMs,
    });
  } catch (error) {
    return error;
  }
}

const failure = (code: number | string, msg = 'Not now.') => ({ code, msg });
const ban = (untilMs: number) =>
  failure(-1003, `Way too many requests; IP(203.0.113.7) banned until ${untilMs}. Use websockets.`);

describe('checkAnswer()', () => {
  test.each([200, 400, 503])(
    'takes temporary error codes with status %d as transient',
    (status) => {
      for (const code of [-1000, -1001, -1007, -1008, '-1001'])
        expect(check({ status, body: failure(code) })).toBeInstanceOf(TransientError);
    },
  );

  test('takes 408 as transient, whatever its body', () => {
    for (const body of ['', '<html>', failure(-1102)])
      expect(check({ status: 408, body })).toBeInstanceOf(TransientError);
  });

  test.each([200, 400, 429])('takes code -1003 with status %d as a 429', (status) => {
    const found = check({ status, body: failure(-1003), headers: { 'retry-after': '7' } });
    expect(found).toBeInstanceOf(RateLimitedError);
    expect(found).toMatchObject({ pauseMs: 7_000 });
    expect(check({ status, body: failure(-1003) })).toMatchObject({ pauseMs: MINUTE });
  });

  test.each([418, 429, 400, 200])('reads the end of a ban from a text with %d', (status) => {
    const found = check({ status, body: ban(NOW + 90 * MINUTE) });
    expect(found).toBeInstanceOf(BannedError);
    expect(found).toMatchObject({ untilMs: NOW + 90 * MINUTE });
  });

  test('reads the end of a ban by the exchange’s clock', () => {
    const body = ban(NOW + 5 * MINUTE);
    expect(check({ status: 418, body, exchangeNowMs: NOW - 10 * MINUTE })).toMatchObject({
      untilMs: NOW + 15 * MINUTE,
    });
    const headers = { date: new Date(NOW - 20 * MINUTE).toUTCString() };
    const answer = { status: 418, headers, body: Buffer.from(JSON.stringify(body)) };
    const clocks = { nowMs: NOW, exchangeNowMs: undefined };
    expect(() => checkAnswer(answer, URL, clocks)).toThrow(
      expect.objectContaining({ untilMs: NOW + 25 * MINUTE }),
    );
  });

  test('waits for the later of Retry-After and the end in the text', () => {
    const headers = { 'retry-after': '600' };
    const untilMs = (ms: number) => check({ status: 418, body: ban(ms), headers });
    expect(untilMs(NOW + MINUTE)).toMatchObject({ untilMs: NOW + 10 * MINUTE });
    expect(untilMs(NOW + 30 * MINUTE)).toMatchObject({ untilMs: NOW + 30 * MINUTE });
  });

  test('takes a ban without an end, or with one in the past, as one of a minute', () => {
    for (const body of ['<html>', failure(-1003), ban(NOW - MINUTE)])
      expect(check({ status: 418, body })).toMatchObject({ untilMs: NOW + MINUTE });
  });

  test('takes a 200 with an error object as that error', () => {
    expect(check({ body: failure(-1121) })).toBeInstanceOf(UnknownSymbolError);
    expect(check({ body: failure(-1100, 'Illegal characters.') })).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('Illegal characters.'),
    });
  });

  test('returns data that only looks like an error', () => {
    for (const body of ['[]', '{"serverTime":1}', '{"code":0,"serverTime":1}', '{"code":"x"}'])
      expect(check({ body })).toBe(body);
  });
});
