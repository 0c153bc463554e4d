-- Somebody who was told.
insert into webhooks (id, project, url, events, secret, created_by)
values ('01900000-0000-7000-8000-000000004201', 'arm', 'http://127.0.0.1:9/', '{run.failed}', 'secret', 'old token');
insert into webhook_deliveries (webhook_id, event, payload, state, attempts, finished_at, last_status)
values ('01900000-0000-7000-8000-000000004201', 'run.failed', '{"type": "run.failed"}', 'delivered', 1, now(), 200);
