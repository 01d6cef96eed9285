-- Counts the candles of one range: those stored in klines, and those staged that may replace them
-- Locks nothing. Can be run again.

select
  (
    select count(*)::int
    from klines
    where instrument_id = :'instrument_id'::int
      and interval = :'interval'
      and open_time >= :'from_time'
      and open_time < :'to_time'
  ) as stored_rows,
  (
    select count(distinct s.open_time)::int
    from staged_klines s
    where not exists (
      select from klines_archive a
      where a.instrument_id = :'instrument_id'::int
        and a.interval = :'interval'
        and a.open_time = s.open_time
    )
  ) as staged_rows;
