-- What keeps a workspace down whatever its app's connection does: uninstalled, or its bot token revoked.

-- The code of it, and since when it is so.
alter table workspaces add column trouble text;
alter table workspaces add column trouble_at bigint;
-- What happened before this is over: a new bot token or a connect came after it. None: since the workspace was made.
alter table workspaces add column forgiven_at bigint;
-- Until then Slack holds its events back, as far as is known.
alter table workspaces add column limited_until bigint;

-- Who is told of changes: addresses of the operator's own.
create table webhooks (
    id bigint generated always as identity primary key,
    url text not null,
    -- Names with commas between; empty: all.
    topics text not null,
    -- Only workspaces with this label; none: all.
    label_key text,
    label_value text,
    paused bigint not null,
    secret_sealed bytea,
    last_error text,
    last_error_at bigint,
    last_success_at bigint,
    created_at bigint not null,
    updated_at bigint not null
);

-- What is still to be told, and what was given up. What was taken is deleted.
create table notices (
    id bigint generated always as identity primary key,
    webhook_id bigint not null,
    message_id text not null,
    topic text not null,
    body text not null,
    dead bigint not null,
    attempts bigint not null,
    next_at bigint not null,
    created_at bigint not null,
    last_error text
);

create index notices_next on notices (webhook_id, dead, next_at);

-- What was last told of each workspace; of workspace 0, the open incident.
create table told (
    workspace_id bigint primary key,
    what text not null,
    code text,
    at bigint not null,
    peak bigint not null
);
