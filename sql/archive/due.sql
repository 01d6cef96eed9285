-- How much there is to move: rows, bytes, first and last candle, for some ranges of one instrument's intervals
-- Locks nothing. Can be run again. Bytes are those of the rows without indexes, estimated from a sample.

select
  r.interval, due.first_time, due.last_time,
  due.due_rows::float8 as due_rows,
  ceil(due.due_rows * sample.row_bytes)::float8 as due_bytes
from unnest(
  string_to_array(:'intervals', ','),
  string_to_array(:'from_times', ',')::timestamptz[],
  string_to_array(:'to_times', ',')::timestamptz[]
) as r (interval, from_time, to_time)
cross join lateral (
  select count(*) as due_rows, min(open_time) as first_time, max(open_time) as last_time
  from :"source"
  where instrument_id = :'instrument_id'::int
    and interval = r.interval
    and open_time >= r.from_time
    and open_time < r.to_time
) as due
cross join lateral (
  select avg(pg_column_size(probe.*)) as row_bytes
  from (
    select *
    from :"source" s
    where s.instrument_id = :'instrument_id'::int
      and s.interval = r.interval
      and s.open_time >= r.from_time
      and s.open_time < r.to_time
    limit 1000
  ) as probe
) as sample
where due.due_rows > 0
order by due.due_rows desc, r.interval, r.from_time;
