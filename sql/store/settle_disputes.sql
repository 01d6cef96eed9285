-- Decides between the stored, the staged and the answered candle of each disputed open time
-- Locks nothing that others see. Run it in the transaction that merges the staged candles. What REST answered is
-- right. Without an answer the stored candle stays; where none is stored, the later one of a source is taken. Archived
-- candles stay as they are. Leaves one staged candle for each disputed open time, and returns how often the stored
-- one stayed. The log has each differing candle once, however often its file is read.

create temp table if not exists disputes (
  open_time timestamptz not null,
  tier text not null,
  was jsonb,
  was_source text,
  answered jsonb,
  became jsonb not null
);

truncate disputes;

insert into disputes (open_time, tier, was, was_source, answered, became)
select
  disputed.open_time,
  coalesce(stored.tier, 'hot'),
  stored.content,
  stored.source,
  answered.content,
  coalesce(case stored.tier when 'archive' then stored.content end, answered.content, stored.content, latest.content)
from (
  select to_timestamp(v::float8 / 1000)::timestamptz(3) as open_time
  from unnest(string_to_array(:'disputed', ',')) as v
) as disputed
left join lateral (
  select
    k.tier,
    candle_values(to_jsonb(k)) as content,
    candle_source(:'instrument_id'::int, :'interval', k.open_time, k.updated_at) as source
  from both_tiers k
  where k.instrument_id = :'instrument_id'::int and k.interval = :'interval' and k.open_time = disputed.open_time
  -- Of a candle that a killed archive of another program left in both tiers, the archived one.
  order by k.tier
  limit 1
) as stored on true
left join lateral (
  select candle_values(to_jsonb(a)) as content
  from answered_klines a
  where a.open_time = disputed.open_time
  order by a.ctid desc
  limit 1
) as answered on true
cross join lateral (
  select candle_values(to_jsonb(s)) as content
  from staged_klines s
  where s.open_time = disputed.open_time
  order by s.ctid desc
  limit 1
) as latest;

with offers as (
  select distinct open_time, candle_values(to_jsonb(s)) as offered, :'source' as source
  from staged_klines s
  union all
  -- The archive keeps a candle that REST contradicts; verify --repair replaces it.
  select open_time, answered, 'rest'
  from disputes
  where tier = 'archive' and answered <> was
)
insert into repairs (instrument_id, interval, open_time, tier, was, was_source, offered, source, became, decided_by)
select
  :'instrument_id'::int, :'interval', d.open_time, d.tier, d.was, d.was_source, o.offered, o.source, d.became,
  case when d.answered is not null then 'rest' end
from disputes d
join offers o using (open_time)
where o.offered is distinct from coalesce(d.was, d.became)
  and not exists (
    select from repairs r
    where r.instrument_id = :'instrument_id'::int
      and r.interval = :'interval'
      and r.open_time = d.open_time
      and r.tier = d.tier
      and r.source = o.source
      and r.offered = o.offered
      and r.became = d.became
      and d.was = d.became
  )
-- The last row of a candle is what verify reads.
order by d.open_time, o.source = 'rest';

delete from staged_klines s
using disputes d
where s.open_time = d.open_time
  and exists (select from staged_klines later where later.open_time = s.open_time and later.ctid > s.ctid);

update staged_klines s
set (:candle_columns) = (select :candle_columns from jsonb_populate_record(null::klines, d.became))
from disputes d
where s.open_time = d.open_time;

select count(*) filter (where became = was)::int as disputed
from disputes;
