-- Reserves weight of one market's current minute, as much as is left of what was wanted
-- Locks the market's row, so that runs take turns. Can be run again: each time it reserves more.
-- What the exchange itself has counted (seen) may be more than our runs reserved: then others ask too.

insert into request_budget (market) values (:'market') on conflict do nothing;

-- A minute that is ahead is another run's, whose clock is ahead a little. Far ahead it is nobody's.
with budget as (
  select
    market,
    case when is_current then minute else :'minute'::timestamptz end as minute,
    case when is_current then greatest(spent, :'seen'::int) else :'seen'::int end as spent
  from (
    select
      market, minute, spent,
      minute between :'minute'::timestamptz and :'minute'::timestamptz + interval '2 minutes' as is_current
    from request_budget
    where market = :'market'
    for update
  ) as stored
),
pause as (
  select is_ban, ceil(extract(epoch from until_time - now()) * 1000)::float8 as pause_ms
  from exchange_pauses
  where market = :'market' and until_time > now()
),
granted as (
  select
    case
      when exists (select from pause) then 0
      else greatest(0, least(:'wanted'::int, :'allowance'::int - spent))
    end as weight
  from budget
)
update request_budget as b
set minute = budget.minute, spent = budget.spent + granted.weight
from budget, granted
where b.market = budget.market
returning
  granted.weight as granted,
  coalesce((select pause_ms from pause), 0) as pause_ms,
  coalesce((select is_ban from pause), false) as is_ban;
