-- A run that was trained and one that a worker holds, as the first coordinator wrote them.
insert into workers (id, name, version, device, device_name, slots, labels)
values ('01900000-0000-7000-8000-00000000a001', 'old worker', '0.1.0', 'cpu', 'two cores', 8, '{}');

insert into experiments (id, name, kind, preset, seed, tags, spec, spec_sha256) values
('01900000-0000-7000-8000-00000000c001', 'old', 'train', 'demo', 1, '{paper}', '{"kind":"train","name":"old","seed":1,"tags":[],"priority":0,"network":{"kind":"rnn","hidden":512,"activation":"softplus","noise_hidden":0.1,"noise_input":0.01,"dt_ms":10.0,"time_constant_ms":20.0},"training":{"batches":75000,"batch_size":32,"learning_rate":0.001,"clip":1.0,"save_every":500,"tasks":["DlyFigure8"],"losses":{"rate":0.001,"weight":0.001,"muscle":0.01,"dynamics":0.001}},"resources":{"device":"any","slots":1,"labels":{}}}', repeat('0', 64)),
('01900000-0000-7000-8000-00000000c002', 'old and running', 'train', 'demo', 2, '{}', '{"kind":"train","name":"old","seed":1,"tags":[],"priority":0,"network":{"kind":"rnn","hidden":512,"activation":"softplus","noise_hidden":0.1,"noise_input":0.01,"dt_ms":10.0,"time_constant_ms":20.0},"training":{"batches":75000,"batch_size":32,"learning_rate":0.001,"clip":1.0,"save_every":500,"tasks":["DlyFigure8"],"losses":{"rate":0.001,"weight":0.001,"muscle":0.01,"dynamics":0.001}},"resources":{"device":"any","slots":1,"labels":{}}}', repeat('0', 64));

insert into runs (id, experiment_id, state, priority, device_need, slots, labels, fencing_token, attempts,
                  batches_total, batches_done, last_loss_step, last_loss, last_validation_step, last_validation,
                  best_validation_step, best_validation, last_event, started_at, finished_at) values
('01900000-0000-7000-8000-00000000b001', '01900000-0000-7000-8000-00000000c001', 'succeeded', 0, 'any', 1, '{}', 1, 1,
 6, 6, 5, 0.25, 5, 0.25, 5, 0.25, 2, now(), now()),
('01900000-0000-7000-8000-00000000b002', '01900000-0000-7000-8000-00000000c002', 'running', 0, 'any', 1, '{}', 1, 1,
 6, 3, null, null, null, null, null, null, 0, now(), null);

insert into attempts (id, run_id, number, worker_id, state, fencing_token, lease_expires_at, first_batch, finished_at) values
('01900000-0000-7000-8000-00000000d001', '01900000-0000-7000-8000-00000000b001', 1,
 '01900000-0000-7000-8000-00000000a001', 'succeeded', 1, now(), 0, now()),
('01900000-0000-7000-8000-00000000d002', '01900000-0000-7000-8000-00000000b002', 1,
 '01900000-0000-7000-8000-00000000a001', 'running', 1, now() - interval '1 day', 0, null);

insert into series (run_id, name, points, last_step)
values ('01900000-0000-7000-8000-00000000b001', 'loss/total', 3, 5);
insert into series_chunks (series_id, first_step, last_step, points, steps, "values")
select id, 0, 5, 3, '\x000104', '\x000000000000f03f000000000000e03f000000000000d03f' from series;

insert into blobs (sha256, size_bytes) values (repeat('1', 64), 8), (repeat('2', 64), 8), (repeat('3', 64), 8);
insert into checkpoints (id, run_id, attempt_id, kind, next_batch, validation, sha256) values
('01900000-0000-7000-8000-00000000e001', '01900000-0000-7000-8000-00000000b001', '01900000-0000-7000-8000-00000000d001',
 'best', 6, 0.25, repeat('1', 64)),
('01900000-0000-7000-8000-00000000e002', '01900000-0000-7000-8000-00000000b001', '01900000-0000-7000-8000-00000000d001',
 'last', 6, 0.25, repeat('2', 64)),
('01900000-0000-7000-8000-00000000e003', '01900000-0000-7000-8000-00000000b002', '01900000-0000-7000-8000-00000000d002',
 'last', 3, null, repeat('3', 64));

insert into events (run_id, id, kind, payload) values
('01900000-0000-7000-8000-00000000b001', 1, 'metrics',
 '{"event": "metrics", "ranges": [{"name": "loss/total", "first": 0, "last": 5}]}'),
('01900000-0000-7000-8000-00000000b001', 2, 'changed', '{"event": "changed"}');
