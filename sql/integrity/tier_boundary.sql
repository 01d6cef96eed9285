-- Candles of one series in klines that are older than the newest archived one
-- Locks nothing. Can be run again. What was restored stays where it is, and what both tiers hold
-- is another check's.

select h.open_time, count(*) over ()::int as found
from klines h
where h.instrument_id = :'instrument_id'::int
  and h.interval = :'interval'
  and h.open_time >= :'from_time'
  and h.open_time < :'to_time'
  and h.open_time < (
    select max(open_time)
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval'
  )
  and not exists (
    select from klines_archive a
    where a.instrument_id = h.instrument_id and a.interval = h.interval and a.open_time = h.open_time
  )
  and not exists (
    select from archive_batches b
    where b.instrument_id = h.instrument_id
      and b.interval = h.interval
      and b.from_time <= h.open_time
      and b.to_time > h.open_time
      -- Older databases have no direction: what they moved, they archived.
      and to_jsonb(b) ->> 'direction' = 'restore'
  )
order by h.open_time
limit :'shown'::int;
