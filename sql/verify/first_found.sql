-- What one check found: the first candles of each kind, and how many there are
-- Locks nothing. Can be run again. `found` is the SELECT of a check, which ends without a semicolon: check_name, open_time,
-- detail, and row_hash, which identifies the values that were checked, or is null. is_published: the exchange was
-- asked again and sent the same values.

with found as (
  :found
),
numbered as (
  select
    f.*,
    p.row_hash is not null as is_published,
    count(*) over same as found,
    row_number() over (same order by f.open_time) as number
  from found f
  left join published_oddities p on
    p.instrument_id = :'instrument_id'::int
    and p.interval = :'interval'
    and p.open_time = f.open_time
    and p.check_name = f.check_name
    and p.row_hash = f.row_hash
  window same as (partition by f.check_name, p.row_hash is not null)
)
select
  check_name as "check",
  is_published as "isPublished",
  found::int as "count",
  (extract(epoch from open_time) * 1000)::float8 as "fromMs",
  detail,
  row_hash::text as "rowHash"
from numbered
where number <= :'shown'::int
order by check_name, is_published, open_time;
