-- Every n-th of a run's checkpoints can be kept when a newer one takes its place: it is superseded then, and of a kind
-- of its own.
alter table checkpoints drop constraint checkpoints_kind_known;
alter table checkpoints add constraint checkpoints_kind_known check (kind in ('best', 'last', 'kept'));
alter table checkpoints add constraint checkpoints_kept_when_superseded
    check (kind <> 'kept' or superseded_at is not null);
