-- Who wants to be told when runs end, and what is to be told.
--
-- A delivery is a row that the transaction adds which ends the run: what happened is told, and what did not happen
-- is not, whatever becomes of the coordinator. It is a trigger because runs end in several ways, and none of them
-- may forget it. Its condition is judged before any function is called, so other changes of a run cost nothing.
create table webhooks (
    id uuid primary key,
    -- Only what happens in this project; null means in all.
    project text references projects (name),
    url text not null,
    events text[] not null,
    -- Kept as it is: signatures are made with it.
    secret text not null,
    active boolean not null default true,
    created_at timestamptz not null default now(),
    created_by text not null,
    constraint webhooks_url_length check (char_length(url) between 1 and 2000),
    constraint webhooks_events_some check (cardinality(events) > 0)
);

create index webhooks_by_project on webhooks (project) where active;

create table webhook_deliveries (
    id uuid primary key default gen_random_uuid(),
    webhook_id uuid not null references webhooks (id) on delete cascade,
    event text not null,
    -- What is told, as it was when it happened.
    payload jsonb not null,
    state text not null default 'pending',
    attempts integer not null default 0,
    created_at timestamptz not null default now(),
    next_attempt_at timestamptz not null default now(),
    finished_at timestamptz,
    -- Of the last attempt.
    last_status integer,
    last_answer text,
    last_error text,
    constraint webhook_deliveries_state_known check (state in ('pending', 'delivered', 'given_up')),
    constraint webhook_deliveries_finished_when_over check ((state = 'pending') = (finished_at is null))
);

-- The sender takes a few of each webhook's that are due, the oldest first: one dead receiver holds up no other.
create index webhook_deliveries_due on webhook_deliveries (webhook_id, next_attempt_at) where state = 'pending';
create index webhook_deliveries_by_webhook on webhook_deliveries (webhook_id, created_at desc, id);
create index webhook_deliveries_finished on webhook_deliveries (finished_at) where state <> 'pending';

create function tell_webhooks_of_run() returns trigger language plpgsql as $$
begin
    insert into webhook_deliveries (webhook_id, event, payload)
    select w.id, 'run.' || new.state, jsonb_build_object(
        'type', 'run.' || new.state,
        'timestamp', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', jsonb_strip_nulls(jsonb_build_object(
            'run', new.id,
            'experiment', new.experiment_id,
            'name', e.name,
            'kind', e.kind,
            'project', new.project,
            'seed', e.seed,
            'tags', to_jsonb(e.tags),
            'state', new.state,
            'attempts', new.attempts,
            'batches_done', new.batches_done,
            'batches_total', new.batches_total,
            'failure', case when new.failure_class is not null then
                jsonb_build_object('class', new.failure_class, 'message', new.failure_message) end)))
    from webhooks w join experiments e on e.id = new.experiment_id
    where w.active and 'run.' || new.state = any(w.events) and (w.project is null or w.project = new.project);
    return null;
end
$$;

create trigger runs_tell_webhooks after update of state on runs
    for each row
    when (new.state is distinct from old.state and new.state in ('succeeded', 'failed', 'cancelled', 'skipped'))
    execute function tell_webhooks_of_run();
