-- Runs in the states that came with this.
insert into projects (name, weight) values ('arm', 2);
insert into experiments (id, name, kind, seed, tags, spec, spec_sha256)
select ('01900000-0000-7000-8000-00000000c1' || lpad(n::text, 2, '0'))::uuid, 'in state ' || n, 'train', 1, '{}',
       (select spec from experiments limit 1), repeat('0', 64)
from generate_series(1, 3) n;
insert into runs (id, experiment_id, state, priority, device_need, slots, labels, batches_total, finished_at, project)
select ('01900000-0000-7000-8000-00000000b1' || lpad(n::text, 2, '0'))::uuid,
       ('01900000-0000-7000-8000-00000000c1' || lpad(n::text, 2, '0'))::uuid,
       (array['waiting', 'paused', 'skipped'])[n], 0, 'any', 1, '{}', 12, case when n = 3 then now() end, 'arm'
from generate_series(1, 3) n;
