import { describe, expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { HOURS, prepareStore, silence } from './support.ts';

const hours = prepareStore(HOURS);

describe('verify --deep', () => {
  test('finds an archived candle that is possible but was changed', async () => {
    const { sql, verify, expectComplete } = await hours();
    await sql`update klines_archive set volume = volume + 0.00000001 where open_time = '2024-01-10'`;
    await sql`update klines_archive set updated_at = now() where open_time = '2024-01-11'`;
    expect((await verify()).exitCode).toBe(EXIT.done);
    const deep = await verify('--deep');
    expect(deep.found).toEqual(['1h batch-hash 1']);
    expect(deep.examples[0]).toContain('differs from the');
    const repaired = await verify('--deep', '--repair');
    expect(repaired.found).toEqual([]);
    expect(repaired.repaired).toMatchObject([{ replaced: 1, checkpoints: 1 }]);
    await expectComplete();
    expect((await verify('--deep')).found).toEqual([]);
    const [logged] = await sql`select open_time, tier, was, became, source from repairs`;
    expect(logged).toMatchObject({ tier: 'archive', source: 'rest' });
    expect(Number(logged?.was.volume) - Number(logged?.became.volume)).toBeCloseTo(1e-8, 10);

    // The checkpoint does not excuse what is changed after it.
    await sql`update klines_archive set volume = volume + 0.00000001 where open_time = '2024-01-12'`;
    expect((await verify('--deep')).found).toEqual(['1h batch-hash 1']);
  });

  test('finds archived candles that no batch moved there', async () => {
    const { sql, verify } = await hours();
    await sql`
      with moved as (
        delete from klines where open_time = (select min(open_time) from klines) returning *
      )
      insert into klines_archive select * from moved`;
    await sql`update klines_archive set volume = volume + 5 where open_time = '2024-02-09'`;
    expect((await verify()).found).toEqual([]);
    expect((await verify('--deep')).found).toEqual(['1h batch-hash 1']);
    const { repaired } = await verify('--deep', '--repair');
    expect(repaired).toMatchObject([{ replaced: 1, checkpoints: 1 }]);
    expect((await verify('--deep')).found).toEqual([]);
  });

  test('records no checkpoint while the exchange sends nothing', async () => {
    const { fake, sql, verify } = await hours();
    await sql`update klines_archive set volume = volume + 5 where open_time = '2024-01-11 03:00Z'`;
    const endSilence = silence(fake);
    const wanted = { exitCode: EXIT.findings, found: ['1h batch-hash 1'], repaired: [] };
    expect(await verify('--deep', '--repair')).toMatchObject(wanted);
    endSilence();
    expect(await verify('--deep', '--repair')).toMatchObject({
      exitCode: EXIT.done,
      found: [],
      repaired: [{ replaced: 1, checkpoints: 1 }],
    });
  });

  test('stays correct when archive and restore alternate', async () => {
    const { sql, run, verify, expectComplete } = await hours();
    const move = async (name: string, ...words: string[]) => {
      const result = await run(name, ...words, '--json');
      expect([name, result.exitCode]).toEqual([name, EXIT.done]);
      return JSON.parse(result.stdout).rows;
    };
    const expectClean = async () => expect((await verify('--deep')).found).toEqual([]);
    const archive = (days: string) => move('archive', days, '--as-of', HOURS.until);
    expect(await archive('20')).toBe(240);
    await expectClean();
    await move('restore', 'BTC/USDT', '--from', '2024-01-10T05:00Z', '--to', '2024-02-12T07:00Z');
    await expectClean();
    await sql`delete from restored_ranges`;
    // These are fetched again before they are archived again: the hashes must follow.
    await sql`delete from klines where open_time >= '2024-01-20' and open_time < '2024-01-20 03:00Z'`;
    expect(await archive('20')).toBe(33 * 24 + 2 - 3);
    expect((await verify('--deep')).found).toEqual(['1h missing 3']);
    const range = ['--since', '2024-01-20', '--until', '2024-01-20T03:00Z'];
    await run('fetch-history', 'BTC/USDT', '--interval', '1h', ...range);
    expect(await archive('20')).toBe(3);
    await expectClean();
    await expectComplete();

    await sql`update klines_archive set volume = volume + 0.00000001 where open_time = '2024-01-20 01:00Z'`;
    const changed = await verify('--deep');
    expect(changed.exitCode).toBe(EXIT.findings);
    expect(changed.found).toEqual(['1h batch-hash 1']);
    expect(changed.examples[0]).toContain('differs from the');
  });
});
