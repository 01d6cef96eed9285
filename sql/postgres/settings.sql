-- Sets what klinekeep depends on for a new connection, whatever server, database and role set
-- Locks nothing. Can be run again. Sent after connecting, because pgbouncer rejects most of these as startup
-- parameters. Skips settings that this version of PostgreSQL does not have. Sets nothing, and returns no row, if the
-- connection's process is not `pid`.

select set_config(name, value, false)
from (
  values
    -- How values are written and read.
    ('DateStyle', 'ISO, YMD'),
    ('IntervalStyle', 'postgres'),
    ('TimeZone', 'UTC'),
    ('extra_float_digits', '1'),
    ('bytea_output', 'hex'),
    ('lc_monetary', 'C'),
    ('lc_numeric', 'C'),
    ('standard_conforming_strings', 'on'),
    ('escape_string_warning', 'off'),
    ('quote_all_identifiers', 'off'),
    ('transform_null_equals', 'off'),
    ('array_nulls', 'on'),
    ('client_min_messages', 'warning'),
    -- How transactions and plans behave.
    ('default_transaction_isolation', 'read committed'),
    ('default_transaction_deferrable', 'off'),
    ('enable_partition_pruning', 'on'),
    ('plan_cache_mode', 'force_custom_plan'),
    -- Compiling expressions for hundreds of partitions takes longer than reading them.
    ('jit', 'off'),
    -- Some statements are meant to be long; none may wait long for a lock or sit in a transaction.
    ('statement_timeout', '0'),
    ('transaction_timeout', '0'),
    ('idle_session_timeout', '0'),
    ('lock_timeout', '15s'),
    ('idle_in_transaction_session_timeout', '60s'),
    -- A commit does not wait for a standby that is down. What a failover loses the next run does again.
    ('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'off' else 'local' end),
    -- A machine that loses power must not keep its locks for two hours.
    ('tcp_keepalives_idle', '15'),
    ('tcp_keepalives_interval', '5'),
    ('tcp_keepalives_count', '3')
) as wanted (name, value)
where pg_backend_pid() = :pid and current_setting(name, true) is not null

union all

-- Only Linux has these two. The server looks every five seconds whether a killed script is still there.
select set_config(name, value, false)
from (values ('tcp_user_timeout', '30s'), ('client_connection_check_interval', '5s')) as wanted (name, value)
where pg_backend_pid() = :pid and current_setting(name, true) is not null and version() ~ 'linux';
