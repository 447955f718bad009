-- Nothing of a paused workspace is given to handlers: its events wait. active or paused.
alter table workspaces add column delivery text not null default 'active';
create index workspaces_paused on workspaces (id) where delivery = 'paused' and deleted_at is null;

-- Removed workspaces of which something is still to be done: what is pending is called off, and payloads are erased where that was asked for.
create table removals (
    workspace_id bigint primary key,
    -- Who took an event up before the removal was known writes down what is owed of it until then.
    until bigint not null,
    -- The payloads of its events up to purge_to are to be erased, and are up to purged_to. None: they stay.
    purge_to bigint,
    purged_to bigint not null
);

create index deliveries_retrying on deliveries (workspace_id, seq) where status = 'retrying';
