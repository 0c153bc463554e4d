-- Lanes of the queue: the runs of one project that need the same of their worker. A claim looks at the heads of the
-- lanes that have runs and fit, so what does not fit costs nothing, however much of it waits.
create table lanes (
    id bigint generated always as identity primary key,
    project text not null references projects (name),
    device_need text not null,
    slots integer not null,
    memory_bytes bigint,
    labels jsonb not null,
    -- Labels may be longer than an entry of an index.
    labels_md5 text not null generated always as (md5(labels::text)) stored,
    constraint lanes_once unique nulls not distinct (project, device_need, slots, memory_bytes, labels_md5)
);

insert into lanes (project, device_need, slots, memory_bytes, labels)
select distinct project, device_need, slots, memory_bytes, labels from runs;

-- Not a foreign key: its check would lock the same few rows of lanes with every run. Lanes are never deleted.
alter table runs add column lane_id bigint;
update runs r set lane_id = l.id
from lanes l
where l.project = r.project and l.device_need = r.device_need and l.slots = r.slots
  and l.memory_bytes is not distinct from r.memory_bytes and l.labels = r.labels;
alter table runs alter column lane_id set not null;

drop index runs_queue;
create index runs_queue on runs (lane_id, priority desc, queued_at, id)
    where state = 'queued' and not_before is null;

-- What the projects have of the workers now, for their fair share.
create index runs_running on runs (project) include (slots) where state = 'running';

-- A run that failed on a worker goes to another one, if there is one within some time.
alter table runs add column avoid_worker_id uuid references workers (id);
alter table runs add column avoid_until timestamptz;
alter table runs add constraint runs_avoid_whole check ((avoid_worker_id is null) = (avoid_until is null));

-- Every batch of metrics renews the lease: without an index over its end, that changes no index at all. The live
-- attempts are few, so looking for lost ones goes through all of them.
drop index attempts_live_by_lease;
alter table attempts set (fillfactor = 70);
