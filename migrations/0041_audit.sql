-- Who did what to what. Entries are added by the transaction that makes the change, and stay as they are.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null,
    name text not null,
    -- No references: an entry outlives what it names.
    token_id uuid,
    session_id uuid,
    action text not null,
    subject text not null,
    project text,
    request_id text,
    details jsonb not null,
    constraint audit_actor_known check (actor in ('local', 'token', 'session', 'console'))
);

create index audit_by_subject on audit (subject, id desc);
create index audit_by_action on audit (action, id desc);
create index audit_by_token on audit (token_id, id desc) where token_id is not null;
create index audit_by_time on audit (at);

create function audit_stays() returns trigger language plpgsql as $$
begin
    raise exception 'the audit trail is only ever added to';
end
$$;

create trigger audit_stays before update or delete or truncate on audit
    for each statement execute function audit_stays();
