-- A run with a journal that is not settled.
insert into experiments (id, name, kind, seed, tags, spec, spec_sha256)
values ('01900000-0000-7000-8000-00000000c004', 'with a journal', 'train', 1, '{}', (select spec from experiments limit 1),
        repeat('0', 64));
insert into runs (id, experiment_id, state, priority, device_need, slots, labels, batches_total, finished_at)
values ('01900000-0000-7000-8000-00000000b004', '01900000-0000-7000-8000-00000000c004', 'cancelled', 0, 'any', 1, '{}', 12,
        now());
insert into journals (run_id, names, last_steps, batches, bytes)
values ('01900000-0000-7000-8000-00000000b004', '{loss/total}', '{0}', 1, 0);
