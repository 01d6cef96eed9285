-- Stores lines that are not candles, with the reason
-- Locks the rows it writes. Can be run again: a line that is stored already stays unchanged.
-- Every run inserts in the same order: otherwise two transactions with the same lines could block each other.

insert into rejected_klines (instrument_id, interval, source, reason, raw)
select :'instrument_id', :'interval', :'source', reason, raw
from json_to_recordset(:'rejected') as sent (raw text, reason text)
order by raw collate "C", reason collate "C"
on conflict do nothing;
