-- Storage parameters for archive tables that were made without them
-- Locks each against other schema changes and VACUUM, not against readers or writers. Runs once.
-- sql/archive/create_archive_table.sql sets the same ones and says why.

do $$
declare
  archive regclass;
begin
  for archive in select inhrelid::regclass from pg_inherits where inhparent = 'klines_archive'::regclass loop
    execute format(
      'alter table %s set (
        fillfactor = 100,
        autovacuum_freeze_min_age = 0,
        autovacuum_vacuum_insert_scale_factor = 0.0,
        autovacuum_vacuum_insert_threshold = 100000,
        autovacuum_analyze_scale_factor = 0.02
      )',
      archive
    );
  end loop;
end $$;
