-- The stored series of one instrument: first, last and second last candle of both tiers together
-- Locks nothing. Can be run again. Reads a few index entries for each interval, however many candles it has.
-- The rows are in the order of `intervals`.

select
  v.interval, newest.last_time, newest.second_last_time,
  first_hot.open_time as first_hot_time,
  first.open_time as first_time,
  c.checked_at, c.complete_until,
  exists (
    select from open_gaps g where g.instrument_id = :'instrument_id'::int and g.interval = v.interval
  ) as has_open_gaps
from unnest(string_to_array(:'intervals', ',')) with ordinality as v (interval, number)
cross join lateral (
  select max(open_time) as last_time, min(open_time) as second_last_time
  from (
    select open_time
    from both_tiers
    where instrument_id = :'instrument_id'::int and interval = v.interval
    order by open_time desc
    limit 2
  ) as last_two
) as newest
cross join lateral (
  select min(open_time) as open_time
  from klines
  where instrument_id = :'instrument_id'::int and interval = v.interval
) as first_hot
cross join lateral (
  select min(open_time) as open_time
  from both_tiers
  where instrument_id = :'instrument_id'::int and interval = v.interval
) as first
left join series_checks c on c.instrument_id = :'instrument_id'::int and c.interval = v.interval
where newest.last_time is not null
order by v.number;
