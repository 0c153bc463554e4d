-- Runs that people hold back, and runs that wait a while before they are tried again.

-- A worker holds the run and was asked to hand it back; then the run is paused.
alter table runs add column pause_asked_at timestamptz;
alter table runs add constraint runs_pause_asked_while_running check (pause_asked_at is null or state = 'running');

-- Not to be claimed before this time. A reconciler clears it when the time has come, so that a claim never walks
-- over runs that are not due.
alter table runs add column not_before timestamptz;
alter table runs add constraint runs_not_before_while_queued check (not_before is null or state = 'queued');
create index runs_not_due on runs (not_before) where not_before is not null;

-- Beside the counts of lost attempts and internal errors: what decides about giving up.
alter table runs add column out_of_memory_failures integer not null default 0;

-- A person's words about the run.
alter table runs add column notes text not null default '';
