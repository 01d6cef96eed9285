-- lock_class: the first number of the advisory locks of this klinekeep
-- Locks nothing that exists. Runs once. Advisory locks belong to the database: two klinekeeps in schemas of
-- one database number their instruments alike, and would wait for each other without it.

create function lock_class(kind int) returns int
language sql stable parallel safe
return kind # hashoid('klines'::regclass::oid);

comment on function lock_class is 'kind: 27500 instruments, 27501 helpers, 27502 tables being made (lib/store/locks.ts)';
