-- A study whose first run was cancelled, for which the run behind it was skipped.
insert into studies (id, name, project, tags, notes, document)
values ('01900000-0000-7000-8000-000000005001', 'old study', 'arm', '{}', 'as it was',
        '{"name": "old study", "project": "arm", "experiments": [
            {"id": "first", "preset": "demo"}, {"id": "second", "kind": "continue", "base": "first"}]}');
insert into experiments (id, name, kind, seed, tags, spec, spec_sha256, study_id, study_key) values
('01900000-0000-7000-8000-00000000c201', 'first', 'train', 1, '{}', (select spec from experiments limit 1), repeat('0', 64),
 '01900000-0000-7000-8000-000000005001', 'first'),
('01900000-0000-7000-8000-00000000c202', 'second', 'continue', 1, '{}', (select spec from experiments limit 1), repeat('0', 64),
 '01900000-0000-7000-8000-000000005001', 'second');
insert into runs (id, experiment_id, state, priority, device_need, slots, labels, batches_total, finished_at, project,
                  reason) values
('01900000-0000-7000-8000-00000000b201', '01900000-0000-7000-8000-00000000c201', 'cancelled', 0, 'any', 1, '{}', 12,
 now(), 'arm', null),
('01900000-0000-7000-8000-00000000b202', '01900000-0000-7000-8000-00000000c202', 'skipped', 0, 'any', 1, '{}', 12,
 now(), 'arm', 'it depends on `first`, which was cancelled');
insert into dependencies (run_id, on_run_id, checkpoint)
values ('01900000-0000-7000-8000-00000000b202', '01900000-0000-7000-8000-00000000b201', 'best');
