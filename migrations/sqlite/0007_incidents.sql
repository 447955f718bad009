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

-- The secret before this one signs as well, until then.
alter table webhooks add column old_secret_sealed blob;
alter table webhooks add column old_secret_until integer;
-- Posts that were taken, those that were not, and notices that were given up.
alter table webhooks add column posts_taken integer not null default 0;
alter table webhooks add column posts_refused integer not null default 0;
alter table webhooks add column notices_given_up integer not null default 0;
-- The last post: when, and how it was answered, if it was.
alter table webhooks add column last_post_at integer;
alter table webhooks add column last_post_status integer;
