-- Workspaces seated on apps, the history of their connections, and the journal.
--
-- Times are milliseconds since 1970. What a *_sealed column holds names the key that opens it. Rows of a removed workspace
-- or app stay, marked by deleted_at and without their secrets: events and history refer to them.

pragma application_id = 1413567828; -- 'TAUT': this file is Tautline's

create table meta (
    name text primary key,
    value any not null
) strict, without rowid;

create table apps (
    id integer primary key autoincrement,
    slack_app_id text,
    token_fp text,
    token_sealed blob,
    token_hint text,
    token_at integer,
    candidate_fp text,
    candidate_sealed blob,
    candidate_hint text,
    created_at integer not null,
    updated_at integer not null,
    deleted_at integer
) strict;

create unique index apps_slack_app_id on apps (slack_app_id) where deleted_at is null;
create unique index apps_token_fp on apps (token_fp) where deleted_at is null;
create index apps_candidate_fp on apps (candidate_fp) where deleted_at is null;

create table workspaces (
    id integer primary key autoincrement,
    name text not null,
    title text,
    app_id integer not null,
    team_id text,
    enterprise_id text,
    desired text not null,
    links integer not null,
    bot_sealed blob,
    bot_hint text,
    bot_at integer,
    created_at integer not null,
    updated_at integer not null,
    deleted_at integer
) strict;

create unique index workspaces_name on workspaces (name) where deleted_at is null;
-- One installation a team. A workspace whose team is not known yet stands beside any other.
create unique index workspaces_team on workspaces (app_id, coalesce(team_id, enterprise_id)) where deleted_at is null;

create table workspace_labels (
    workspace_id integer not null,
    key text not null,
    value text not null,
    primary key (workspace_id, key)
) strict, without rowid;

create table transitions (
    app_id integer not null,
    n integer not null,
    at integer not null,
    from_state text not null,
    to_state text not null,
    code text,
    generation integer,
    primary key (app_id, n)
) strict, without rowid;

-- The journal. Append-only; no index beside the key: one more costs as much as the row.
create table events (
    seq integer primary key check (seq > 0),
    writer integer not null,
    app_id integer not null,
    workspace_id integer,
    kind text not null,
    type text not null,
    slack_id text not null,
    dedupe blob not null,
    retry integer not null,
    at integer not null,
    bytes integer not null
) strict;

create table payloads (
    seq integer primary key,
    payload_sealed blob not null
) strict;

-- What Slack has sent within the last day. When a row may go is known by its event.
create table seen (
    key blob primary key,
    seq integer not null
) strict, without rowid;

create table writers (
    id integer primary key autoincrement,
    node text not null,
    started_at integer not null,
    ended_at integer,
    settled_to integer not null
) strict;

create table quarantine (
    id integer primary key autoincrement,
    seq integer not null,
    at integer not null,
    app_id integer not null,
    error text not null,
    event_sealed blob not null
) strict;
