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

-- The secret before this one signs as well, until then.
alter table webhooks add column old_secret_sealed bytea;
alter table webhooks add column old_secret_until bigint;
-- Posts that were taken, those that were not, and notices that were given up.
alter table webhooks add column posts_taken bigint not null default 0;
alter table webhooks add column posts_refused bigint not null default 0;
alter table webhooks add column notices_given_up bigint not null default 0;
-- The last post: when, and how it was answered, if it was.
alter table webhooks add column last_post_at bigint;
alter table webhooks add column last_post_status bigint;
