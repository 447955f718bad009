-- Troubles that were told, from their beginning to their end; many at once are one, which is no workspace's.
create table incidents (
    id bigint generated always as identity primary key,
    workspace_id bigint,
    -- Why, as told last.
    code text,
    began_at bigint not null,
    ended_at bigint,
    -- Workspaces at most.
    peak bigint not null,
    -- When a webhook took a notice about it for the first time.
    told_at bigint
);

create index incidents_open on incidents (workspace_id) where ended_at is null;

-- Which of these a notice is about.
alter table notices add column incident_id bigint;
