-- An experiment that starts from the trained run, and a file that it made.
insert into experiments (id, name, kind, seed, tags, spec, spec_sha256, base_checkpoint_id)
values ('01900000-0000-7000-8000-00000000c003', 'on the old one', 'continue', 1, '{}',
        (select spec from experiments limit 1), repeat('0', 64), '01900000-0000-7000-8000-00000000e001');
insert into runs (id, experiment_id, state, priority, device_need, slots, labels, batches_total, first_batch, finished_at)
values ('01900000-0000-7000-8000-00000000b003', '01900000-0000-7000-8000-00000000c003', 'cancelled', 0, 'any', 1, '{}',
        12, 6, now());
insert into artifacts (id, run_id, attempt_id, name, sha256)
values ('01900000-0000-7000-8000-00000000f001', '01900000-0000-7000-8000-00000000b001',
        '01900000-0000-7000-8000-00000000d001', 'evaluation.csv', repeat('1', 64));
