-- Keeps lines that are no candles, with the reason
-- Locks the rows it writes. Can be run again: a line that is there is left as it is.
-- In one order, whoever writes: two transactions with the same lines would wait for each other.

insert into rejected_klines (instrument_id, interval, source, reason, raw)
select :'instrument_id', :'interval', :'source', reason, raw
from json_to_recordset(:'rejected') as sent (raw text, reason text)
order by raw collate "C", reason collate "C"
on conflict do nothing;
