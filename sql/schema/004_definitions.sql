-- What a valid candle is, up to where a series is archived, and how two values differ
-- Locks nothing that exists. Runs once. The planner puts the bodies into the queries that use them.

create function is_sound(
  width text, open_time timestamptz, close_time timestamptz,
  open_price numeric, high_price numeric, low_price numeric, close_price numeric,
  volume numeric, quote_volume numeric, trades_count int,
  taker_buy_volume numeric, taker_buy_quote_volume numeric
) returns boolean
language sql stable parallel safe
return open_time = slot_of(width, open_time)
  and close_time = next_slot(width, open_time) - interval '1 millisecond'
  and low_price > 0
  and low_price <= open_price
  and low_price <= close_price
  and high_price >= open_price
  and high_price >= close_price
  and high_price < 'NaN'
  and taker_buy_volume >= 0
  and taker_buy_volume <= volume
  and volume < 'NaN'
  and taker_buy_quote_volume >= 0
  and taker_buy_quote_volume <= quote_volume
  and quote_volume < 'NaN'
  and (trades_count = 0 or (trades_count > 0 and volume > 0));

comment on function is_sound is
  'whether a candle is valid: it opens at a slot and closes 1 ms before the next one, its prices are possible, and its volumes are consistent';

-- A function that returns rows, since only such a one becomes part of the query.
-- The offset keeps the planner to one look into the index for each candle.
create function archive_boundary(instrument int, width text) returns table (open_time timestamptz)
language sql stable parallel safe
begin atomic
  select a.open_time
  from klines_archive a
  where a.instrument_id = instrument
    and a.interval = width
    and not exists (
      select from klines h
      where h.instrument_id = instrument and h.interval = width and h.open_time = a.open_time
      offset 0
    )
  order by a.open_time desc
  limit 1;
end;

comment on function archive_boundary is
  'for one series, the open time of the newest candle that is only in the archive tier; no row: nothing is archived';

create function difference(field text, stored numeric, source text, other numeric) returns text
language sql stable parallel safe
return case when stored <> other
  then format('%s %s, %s %s', field, trim_scale(stored), source, trim_scale(other))
end;

comment on function difference is 'the text of a verify finding if two values differ, otherwise null. Example: "high 7.5, 1m 7.6" (field, stored value, other source, its value)';

create function candle_values(candle jsonb) returns jsonb
language sql immutable parallel safe
return candle - '{tier,instrument_id,interval,created_at,updated_at}'::text[];

comment on function candle_values is 'what an exchange publishes of a candle: a row of klines as jsonb, without its series and the times of the row';
