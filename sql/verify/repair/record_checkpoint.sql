-- Records what one span of the archive holds now, after a repair
-- Locks nothing but the new row. Can be run again: the latest checkpoint counts.

insert into archive_checkpoints (instrument_id, interval, from_time, to_time, rows, content_hash, recorded_at)
select
  :'instrument_id'::int, :'interval', :'from_time', :'to_time', count(*),
  coalesce(sum(:row_hash), 0),
  clock_timestamp()
from klines_archive
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time';
