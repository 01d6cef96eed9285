-- Slots of the grid that hold more than one candle, on the days that have candles off the grid
-- Locks nothing. Can be run again. Another check finds the same candle in both tiers: here it counts once.

with stored as (
  select distinct open_time, slot_of(:'interval', open_time) as slot
  from candles_on_days(:'instrument_id', :'interval', :'days', :'from_time', :'to_time')
),
doubled as (
  select slot, count(*)::int as candles, hash_array_extended(array_agg(open_time order by open_time), 0) as row_hash
  from stored
  group by slot
  having count(*) > 1
),
numbered as (
  select
    d.*,
    p.row_hash is not null as is_published,
    count(*) over (partition by p.row_hash is not null) as found,
    row_number() over (partition by p.row_hash is not null order by d.slot) as number
  from doubled d
  left join published_oddities p on
    p.instrument_id = :'instrument_id'::int
    and p.interval = :'interval'
    and p.open_time = d.slot
    and p.check_name = 'doubled-slot'
    and p.row_hash = d.row_hash
)
select slot as open_time, candles, row_hash::text, is_published, found::int
from numbered
where number <= :'shown'::int
order by slot;
