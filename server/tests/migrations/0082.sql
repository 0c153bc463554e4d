-- A checkpoint that is kept.
insert into checkpoints (id, run_id, attempt_id, kind, next_batch, sha256, superseded_at)
values ('01900000-0000-7000-8000-00000000e004', '01900000-0000-7000-8000-00000000b001',
        '01900000-0000-7000-8000-00000000d001', 'kept', 3, repeat('2', 64), now());
