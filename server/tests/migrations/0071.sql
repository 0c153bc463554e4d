-- A request that was answered.
insert into idempotency_keys (principal, key, request_sha256, attempt, status, content_type, body)
values ('local', 'old', decode(repeat('ef', 32), 'hex'), gen_random_uuid(), 201, 'application/json', '{}');
