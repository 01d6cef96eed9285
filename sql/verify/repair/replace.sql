-- Replaces stored candles of one series by the staged ones, in whichever tier they are
-- Locks the rows it writes. Can be run again: candles that are the same stay untouched.
-- The columns created_at and updated_at of an archived candle stay: with the right content its batch's hash is
-- right again. Returns what changed. Each offset keeps the planner to one look into the index a slot.

create temp table if not exists old_klines (
  tier text not null,
  open_time timestamptz not null,
  content jsonb not null,
  source text,
  is_surplus boolean not null
);

truncate old_klines;

-- Of a candle staged twice the later one counts.
delete from staged_klines s
using staged_klines later
where later.open_time = s.open_time and later.ctid > s.ctid;

-- What is stored in the slots of the staged candles. Surplus is a candle at another time of such a slot. Of a
-- candle in both tiers the archived copy stays, unless it is newer than the boundary of the archive.
insert into old_klines (tier, open_time, content, source, is_surplus)
select
  k.tier, k.open_time, candle_values(to_jsonb(k)),
  candle_source(:'instrument_id'::int, :'interval', k.open_time, k.updated_at),
  not exists (select from staged_klines s where s.open_time = k.open_time)
  or count(*) over (partition by k.open_time) > 1 and k.tier = case
    when k.open_time > (select b.open_time from archive_boundary(:'instrument_id'::int, :'interval') as b)
      then 'archive'
    else 'hot'
  end
from (select distinct slot_of(:'interval', open_time) as slot from staged_klines) as slots
cross join lateral (
  select *
  from stored_candles(:'instrument_id', :'interval', slots.slot, next_slot(:'interval', slots.slot))
  offset 0
) as k;

delete from klines k
using old_klines old
where k.instrument_id = :'instrument_id'::int
  and k.interval = :'interval'
  and k.open_time = old.open_time
  and old.tier = 'hot'
  and old.is_surplus;

delete from klines_archive k
using old_klines old
where k.instrument_id = :'instrument_id'::int
  and k.interval = :'interval'
  and k.open_time = old.open_time
  and old.tier = 'archive'
  and old.is_surplus;

update klines stored
set (:candle_values) = row(:staged_values), updated_at = now()
from staged_klines staged
where stored.instrument_id = :'instrument_id'::int
  and stored.interval = :'interval'
  and stored.open_time = staged.open_time
  and (:stored_values) is distinct from (:staged_values);

update klines_archive stored
set (:candle_values) = row(:staged_values)
from staged_klines staged
where stored.instrument_id = :'instrument_id'::int
  and stored.interval = :'interval'
  and stored.open_time = staged.open_time
  and (:stored_values) is distinct from (:staged_values);

insert into klines (instrument_id, interval, :candle_columns)
select :'instrument_id'::int, :'interval', :candle_columns
from staged_klines staged
where not exists (select from old_klines old where old.open_time = staged.open_time);

with new_klines as (
  select k.tier, k.open_time, candle_values(to_jsonb(k)) as content
  from staged_klines s
  cross join lateral (
    select *
    from both_tiers
    where instrument_id = :'instrument_id'::int and interval = :'interval' and open_time = s.open_time
    offset 0
  ) as k
)
insert into repairs (instrument_id, interval, open_time, tier, was, was_source, offered, source, became, decided_by)
select
  :'instrument_id'::int, :'interval', open_time, tier, old.content, old.source, new.content, :'source', new.content,
  case :'source' when 'rest' then 'rest' end
from old_klines old
full join new_klines new using (tier, open_time)
where old.content is distinct from new.content
order by open_time, tier
returning open_time, tier, was is null as is_new, became is null as is_gone;
