-- The stored series of one instrument: first, last and second last candle, both tiers together, in the
-- order of `intervals`
-- Locks nothing. Can be run again. Reads a few index entries per interval, whatever is stored.

select
  v.interval, newest.last_time, newest.second_last_time,
  first_hot.open_time as first_hot_time,
  least(first_hot.open_time, first_archived.open_time) as first_time,
  c.checked_at, c.complete_until
from unnest(string_to_array(:'intervals', ',')) with ordinality as v (interval, number)
cross join lateral (
  select max(open_time) as last_time, min(open_time) as second_last_time
  from (
    (
      select open_time
      from klines
      where instrument_id = :'instrument_id'::int and interval = v.interval
      order by open_time desc
      limit 2
    )
    union all
    (
      select open_time
      from klines_archive
      where instrument_id = :'instrument_id'::int and interval = v.interval
      order by open_time desc
      limit 2
    )
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
  from klines_archive
  where instrument_id = :'instrument_id'::int and interval = v.interval
) as first_archived
left join series_checks c on c.instrument_id = :'instrument_id'::int and c.interval = v.interval
where newest.last_time is not null
order by v.number;
