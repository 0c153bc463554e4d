-- Workers that get no runs for now, because runs keep failing on them or because they compute wrongly.
alter table workers add column set_aside_at timestamptz;
alter table workers add column set_aside_reason text;
-- When one that was set aside may prove itself; never where a person set it aside.
alter table workers add column trial_at timestamptz;
alter table workers add column times_set_aside integer not null default 0;
-- What happened on it before says nothing about it any more.
alter table workers add column trusted_since timestamptz not null default now();
-- What its newest short training of known result gave, where it made one.
alter table workers add column canary jsonb;
alter table workers add constraint workers_set_aside_with_reason
    check ((set_aside_at is null) = (set_aside_reason is null));
alter table workers add constraint workers_trial_when_set_aside check (trial_at is null or set_aside_at is not null);

-- The newest ends of a worker's attempts: what speaks for or against it.
create index attempts_ended_by_worker on attempts (worker_id, finished_at desc) where finished_at is not null;
create index attempts_failed_by_end on attempts (finished_at) where state = 'failed';
