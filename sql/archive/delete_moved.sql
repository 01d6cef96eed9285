-- Deletes the candles of one window that move.sql has copied, in the same transaction
-- Locks the rows it deletes. Can be run again. The caller commits only if it deletes as many as were copied.

delete from :"source"
where instrument_id = :'instrument_id'::int
  and interval = :'interval'
  and open_time >= :'from_time'
  and open_time < :'to_time';
