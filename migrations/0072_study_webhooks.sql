-- When the last run of a study has ended; null while some have not. A retry of one of its runs makes it null again.
alter table studies add column finished_at timestamptz;

update studies s set finished_at = now()
where not exists (
    select from experiments e join runs r on r.experiment_id = e.id
    where e.study_id = s.id and r.state in ('waiting', 'queued', 'running', 'paused'));

-- Webhooks are told of a study's end as of a run's: by a trigger, for a study ends wherever its last run does.
--
-- It is deferred to the commit, so that a transaction that ends many runs ends the study once, and takes the study's
-- row first: of two transactions that end its last two runs, the second then sees the first's.
create function settle_study_of_run() returns trigger language plpgsql as $$
declare
    ended_study uuid;
begin
    select study_id into ended_study from experiments where id = new.experiment_id;
    if ended_study is null then
        return null;
    end if;
    if new.state not in ('succeeded', 'failed', 'cancelled', 'skipped') then
        update studies set finished_at = null where id = ended_study and finished_at is not null;
        return null;
    end if;
    perform from studies where id = ended_study and finished_at is null for no key update;
    if not found then
        return null;
    end if;
    if exists (
        select from experiments e join runs r on r.experiment_id = e.id
        where e.study_id = ended_study and r.state in ('waiting', 'queued', 'running', 'paused')) then
        return null;
    end if;
    update studies set finished_at = now() where id = ended_study;
    insert into webhook_deliveries (webhook_id, event, payload)
    select w.id, outcome.event, jsonb_build_object(
        'type', outcome.event,
        'timestamp', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', jsonb_build_object(
            'study', s.id,
            'name', s.name,
            'project', s.project,
            'tags', to_jsonb(s.tags),
            'state', outcome.state,
            'counts', jsonb_build_object(
                'succeeded', c.succeeded, 'failed', c.failed, 'cancelled', c.cancelled, 'skipped', c.skipped,
                'stopped', c.stopped)))
    from studies s
    cross join lateral (
        select count(*) filter (where r.state = 'succeeded') as succeeded,
               count(*) filter (where r.state = 'failed') as failed,
               count(*) filter (where r.state = 'cancelled') as cancelled,
               count(*) filter (where r.state = 'skipped') as skipped,
               count(*) filter (where r.state = 'cancelled' and r.stopped_by_sweep) as stopped
        from experiments e join runs r on r.experiment_id = e.id
        where e.study_id = s.id) c
    -- As `StudyState::of` has it.
    cross join lateral (
        select case when c.failed > 0 then 'failed' when c.cancelled > c.stopped then 'cancelled'
                    else 'succeeded' end as state) o
    cross join lateral (select o.state as state, 'study.' || o.state as event) outcome
    join webhooks w on w.active and outcome.event = any(w.events) and (w.project is null or w.project = s.project)
    where s.id = ended_study;
    return null;
end
$$;

create constraint trigger runs_settle_their_study after update of state on runs
    deferrable initially deferred
    for each row
    when (new.state is distinct from old.state
          and (new.state in ('succeeded', 'failed', 'cancelled', 'skipped')
               or old.state in ('succeeded', 'failed', 'cancelled', 'skipped')))
    execute function settle_study_of_run();
