-- instrument_id('BTC/USDT'): the number to filter all_klines by
-- Locks nothing that exists. Runs once.
-- A filter by symbol makes PostgreSQL plan and lock the tables of all instruments, since it looks
-- the symbol up only when the query runs. An instrument never changes its id, so this function can
-- be immutable: the planner calls it, and leaves out all other tables.

create function instrument_id(symbol text) returns int
language plpgsql immutable strict parallel safe as $$
declare
  id int;
begin
  select i.id into id from instruments i where i.symbol = $1;
  -- Not null: a plan that is kept for later would never find the instrument.
  if id is null then
    raise exception 'Not registered: %', $1 using hint = 'select symbol from instruments';
  end if;
  return id;
end $$;

comment on function instrument_id(text) is
  'where instrument_id = instrument_id(''BTC/USDT'') reads one instrument''s tables; where symbol = ''BTC/USDT'' opens all of them';
