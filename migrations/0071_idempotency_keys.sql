-- Requests that a client may send again without a second effect, and what was answered. A request writes its row
-- first; the transaction that has the effect writes the answer into it, if the row is still its own.
create table idempotency_keys (
    principal text not null,
    key text not null,
    -- Of the method, the address and the body: the same key may not stand for two requests.
    request_sha256 bytea not null,
    -- The try that carries the request out. A try that was taken for dead finds another's id here.
    attempt uuid not null,
    begun_at timestamptz not null default now(),
    status smallint,
    content_type text,
    body bytea,
    constraint idempotency_keys_pkey primary key (principal, key),
    constraint idempotency_keys_answered check ((status is null) = (body is null))
);
create index idempotency_keys_by_age on idempotency_keys (begun_at);
