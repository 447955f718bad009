-- Troubles that were told, from their beginning to their end; many at once are one, which is no workspace's.
create table incidents (
    id integer primary key autoincrement,
    workspace_id integer,
    -- Why, as told last.
    code text,
    began_at integer not null,
    ended_at integer,
    -- Workspaces at most.
    peak integer not null,
    -- When a webhook took a notice about it for the first time.
    told_at integer
) strict;

create index incidents_open on incidents (workspace_id) where ended_at is null;

-- Which of these a notice is about.
alter table notices add column incident_id integer;
