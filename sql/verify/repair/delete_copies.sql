-- Deletes one of the two copies of each candle of one series that both tiers hold with the same content
-- Locks the rows it deletes. Can be run again. The archived one stays, unless it is newer than the boundary
-- of the archive. The limit keeps the planner to one look into the index a candle, also without statistics.

with copies as (
  select
    hot.open_time,
    coalesce(
      hot.open_time > (select b.open_time from archive_boundary(:'instrument_id'::int, :'interval') as b),
      false
    ) as is_beyond
  from klines hot
  cross join lateral (
    select *
    from klines_archive
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = hot.open_time
    limit 1
  ) as archived
  where hot.instrument_id = :'instrument_id'::int
    and hot.interval = :'interval'
    and (:hot_values) is not distinct from (:archived_values)
),
deleted_archived as (
  delete from klines_archive a
  using copies c
  where a.instrument_id = :'instrument_id'::int
    and a.interval = :'interval'
    and a.open_time = c.open_time
    and c.is_beyond
  returning 1
),
deleted_hot as (
  delete from klines h
  using copies c
  where h.instrument_id = :'instrument_id'::int
    and h.interval = :'interval'
    and h.open_time = c.open_time
    and not c.is_beyond
  returning 1
)
select (select count(*) from deleted_hot)::int + (select count(*) from deleted_archived)::int as deleted;
