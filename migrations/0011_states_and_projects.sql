-- Runs that wait for others, are held back, or never began; and the projects that experiments belong to.
create table projects (
    name text primary key,
    -- A project's share of the workers, against the weights of the others.
    weight double precision not null default 1,
    created_at timestamptz not null default now(),
    constraint projects_name_sound check (name ~ '^[A-Za-z0-9._-]{1,64}$'),
    constraint projects_weight_positive check (weight > 0)
);
insert into projects (name) values ('default');

-- Beside the run, where the claim and every list look for it.
alter table runs add column project text not null default 'default' references projects (name);
create index runs_by_project on runs (project, id desc);

alter table runs drop constraint runs_state_known;
alter table runs drop constraint runs_finished_when_final;
alter table runs add constraint runs_state_known check (state in
    ('waiting', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled', 'skipped'));
alter table runs add constraint runs_finished_when_final
    check ((state in ('succeeded', 'failed', 'cancelled', 'skipped')) = (finished_at is not null));
