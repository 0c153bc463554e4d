-- Makes runs as a laboratory leaves them in years, for the bench of lists and the test of their plans: so many as the
-- setting `motif.runs` says, after the experiment that is there already, each with the series of `motif.series`
-- tasks beside its totals. Everything follows from the run's number.
create temporary table made as
select i, at,
       (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8'
           || substr(md5(i::text), 4, 15))::uuid as id,
       abs(hashint4(i)) as draw,
       0.02 + 0.4 * (abs(hashint4(i + 7)) % 100000) / 100000 as loss
from (
    select i, date_trunc('milliseconds', now()) - (current_setting('motif.runs')::int - i) * interval '5 minutes' as at
    from generate_series(1, current_setting('motif.runs')::int) as i
) as numbered;

insert into projects (name) select 'project-' || i from generate_series(0, 7) as i on conflict do nothing;

insert into lanes (project, device_need, slots, labels) select name, 'any', 1, '{}' from projects on conflict do nothing;

insert into experiments (id, name, kind, preset, seed, tags, spec, spec_sha256, created_at)
select id, 'run ' || substr(md5((i / 20)::text), 1, 6) || ' ' || i, case when draw % 10 = 0 then 'evaluate' else 'train' end,
       case when draw % 3 = 0 then 'demo' else 'train_rnn256_softplus' end, draw % 50,
       case when draw % 20 = 0 then array['paper', 'sweep-' || i / 100] else array['sweep-' || i / 100] end,
       jsonb_set(model.spec::jsonb, '{network,hidden}', to_jsonb((array[64, 128, 256, 512])[draw % 4 + 1]))::text,
       model.spec_sha256, at
from made, (select spec, spec_sha256 from experiments order by id limit 1) as model;

insert into runs (id, experiment_id, state, priority, device_need, slots, labels, attempts, failure_class,
                  batches_total, batches_done, last_loss_step, last_loss, last_validation_step, last_validation,
                  best_validation_step, best_validation, created_at, queued_at, started_at, finished_at, updated_at,
                  touched_at, project, lane_id)
select id, id, state, draw % 5, 'any', 1, '{}', 1, case when state = 'failed' then 'diverged' end,
       20000, done, done, loss, done, loss * 1.1, done, loss * 1.05, at, at,
       case when state <> 'queued' then at + interval '1 minute' end,
       case when state in ('succeeded', 'failed') then at + interval '1 minute' + draw % 20000 * interval '1 second' end,
       at, at, 'project-' || draw % 8, (select max(l.id) from lanes l where l.project = 'project-' || draw % 8)
from (
    select *, case when state = 'queued' then 0 else 20000 end as done
    from (
        select *, case when i > current_setting('motif.runs')::int - 2000 then 'queued'
                       when draw % 17 = 0 then 'failed' else 'succeeded' end as state
        from made
    ) as stated
) as stated;

insert into series (run_id, name, newest, least)
select r.id, s.name, r.last_loss * s.factor, r.last_loss * s.factor * 0.95
from runs r
cross join (
    values ('loss/total', 1.0), ('validation/total', 1.1)
    union all
    select 'validation/task-' || t, 1 + t::numeric / 10 from generate_series(1, current_setting('motif.series')::int) as t
) as s (name, factor)
where r.state <> 'queued' and r.batches_done > 0;

drop table made;
analyze;
