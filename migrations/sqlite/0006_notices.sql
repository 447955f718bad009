-- What keeps a workspace down whatever its app's connection does: uninstalled, or its bot token revoked.

-- The code of it, and since when it is so.
alter table workspaces add column trouble text;
alter table workspaces add column trouble_at integer;
-- What happened before this is over: a new bot token or a connect came after it. None: since the workspace was made.
alter table workspaces add column forgiven_at integer;
-- Until then Slack holds its events back, as far as is known.
alter table workspaces add column limited_until integer;

-- Who is told of changes: addresses of the operator's own.
create table webhooks (
    id integer primary key autoincrement,
    url text not null,
    -- Names with commas between; empty: all.
    topics text not null,
    -- Only workspaces with this label; none: all.
    label_key text,
    label_value text,
    paused integer not null,
    secret_sealed blob,
    last_error text,
    last_error_at integer,
    last_success_at integer,
    created_at integer not null,
    updated_at integer not null
) strict;

-- What is still to be told, and what was given up. What was taken is deleted.
create table notices (
    id integer primary key autoincrement,
    webhook_id integer not null,
    message_id text not null,
    topic text not null,
    body text not null,
    dead integer not null,
    attempts integer not null,
    next_at integer not null,
    created_at integer not null,
    last_error text
) strict;

create index notices_next on notices (webhook_id, dead, next_at);

-- What was last told of each workspace; of workspace 0, the open incident.
create table told (
    workspace_id integer primary key,
    what text not null,
    code text,
    at integer not null,
    peak integer not null
) strict;
