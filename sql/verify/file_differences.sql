-- Candles of one series that differ between the store and a bulk file: in a field, or because one of them has none
-- Locks nothing and creates no table, so it also runs on a standby. Can be run again. The candles of the file are
-- arrays, one for each column. `missing` are candles in ranges that another check has reported.

with in_file as (
  select *
  from unnest(
    :'open_time'::timestamptz[], :'close_time'::timestamptz[],
    :'open_price'::numeric[], :'high_price'::numeric[], :'low_price'::numeric[], :'close_price'::numeric[],
    :'volume'::numeric[], :'quote_volume'::numeric[], :'trades_count'::int[],
    :'taker_buy_volume'::numeric[], :'taker_buy_quote_volume'::numeric[]
  ) as f (:candle_columns)
),
differing as (
  select
    stored.tier is not null as is_stored,
    file.open_time is not null as is_in_file,
    open_time,
    hash_record_extended(row(:stored_values, :file_values), 0) as row_hash,
    case when stored.close_time <> file.close_time
      then format('close time %s, file %s', stored.close_time at time zone 'UTC', file.close_time at time zone 'UTC')
    end as close_time_detail,
    concat_ws(
      ', ',
      difference('open', stored.open_price, 'file', file.open_price),
      difference('high', stored.high_price, 'file', file.high_price),
      difference('low', stored.low_price, 'file', file.low_price),
      difference('close', stored.close_price, 'file', file.close_price),
      difference('volume', stored.volume, 'file', file.volume),
      difference('quote volume', stored.quote_volume, 'file', file.quote_volume),
      difference('trades', stored.trades_count, 'file', file.trades_count),
      difference('taker volume', stored.taker_buy_volume, 'file', file.taker_buy_volume),
      difference('taker quote volume', stored.taker_buy_quote_volume, 'file', file.taker_buy_quote_volume)
    ) as values_detail
  from in_file as file
  full join stored_candles(:'instrument_id', :'interval', :'from_time', :'to_time') as stored using (open_time)
  where (:stored_values) is distinct from (:file_values)
)
select distinct
  case
    when is_stored and is_in_file then 'differs-from-file'
    when is_stored then 'not-in-file'
    when exists (
      select from unnest(:'missing_from'::timestamptz[], :'missing_to'::timestamptz[]) as m (from_time, to_time)
      where d.open_time >= m.from_time and d.open_time < m.to_time
    ) then 'missing'
    else 'not-stored'
  end as check_name,
  open_time,
  case
    when is_stored and is_in_file
      then format('%s (%s)', concat_ws(', ', close_time_detail, nullif(values_detail, '')), :'file')
    when is_stored then format('not in %s', :'file')
    else format('only in %s', :'file')
  end as detail,
  row_hash
from differing d
