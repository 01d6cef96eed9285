-- Deletes from klines what the staged answer for the same range does not hold
-- Locks the rows it deletes. Can be run again. Part of a replacement: merge.sql follows.

delete from klines k
where k.instrument_id = :'instrument_id'::int
  and k.interval = :'interval'
  and k.open_time >= :'from_time'
  and k.open_time < :'to_time'
  and not exists (
    select from staged_klines s
    where s.open_time = k.open_time
  );
