-- Workspaces seated on apps, the history of their connections, and the journal.
--
-- Times are milliseconds since 1970. What a *_sealed column holds names the key that opens it. Rows of a removed workspace
-- or app stay, marked by deleted_at and without their secrets: events and history refer to them.
--
-- All of it lives in the schema tautline, which the node makes and looks into first (search_path).

create table meta (
    name text primary key,
    value text not null
);

create table apps (
    id bigint generated always as identity primary key,
    slack_app_id text,
    token_fp text,
    token_sealed bytea,
    token_hint text,
    token_at bigint,
    candidate_fp text,
    candidate_sealed bytea,
    candidate_hint text,
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint
);

create unique index apps_slack_app_id on apps (slack_app_id) where deleted_at is null;
create unique index apps_token_fp on apps (token_fp) where deleted_at is null;
create index apps_candidate_fp on apps (candidate_fp) where deleted_at is null;

create table workspaces (
    id bigint generated always as identity primary key,
    -- Sorted as bytes, as the pages of the API are, whatever the database's language.
    name text collate "C" not null,
    title text,
    app_id bigint not null,
    team_id text,
    enterprise_id text,
    desired text not null,
    links smallint not null,
    bot_sealed bytea,
    bot_hint text,
    bot_at bigint,
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint
);

create unique index workspaces_name on workspaces (name) where deleted_at is null;
-- One installation a team. A workspace whose team is not known yet stands beside any other.
create unique index workspaces_team on workspaces (app_id, coalesce(team_id, enterprise_id)) where deleted_at is null;

create table workspace_labels (
    workspace_id bigint not null,
    key text collate "C" not null,
    value text not null,
    primary key (workspace_id, key)
);

create table transitions (
    app_id bigint not null,
    n bigint not null,
    at bigint not null,
    from_state text not null,
    to_state text not null,
    code text,
    generation bigint,
    primary key (app_id, n)
);

-- The journal. Append-only; no index beside the key: one more costs as much as the row. A partition a day of seqs; the node
-- makes them.
create table events (
    seq bigint primary key check (seq > 0),
    writer bigint not null,
    app_id bigint not null,
    workspace_id bigint,
    kind text not null,
    type text not null,
    slack_id text not null,
    dedupe bytea not null,
    retry int not null,
    at bigint not null,
    bytes bigint not null
) partition by range (seq);

create table payloads (
    seq bigint primary key,
    payload_sealed bytea not null
) partition by range (seq);

-- What is sealed cannot be compressed: trying would cost as much as all the rest.
alter table payloads alter column payload_sealed set storage external;

-- What Slack has sent within the last day. When a row may go is known by its event. No partitions: a key must be unique beyond
-- midnight.
create table seen (
    key bytea primary key,
    seq bigint not null
);

create table writers (
    -- At most 2^31: a living writer holds an advisory lock of this number.
    id int generated always as identity primary key,
    node text not null,
    started_at bigint not null,
    ended_at bigint,
    settled_to bigint not null
);

create table quarantine (
    id bigint generated always as identity primary key,
    seq bigint not null,
    at bigint not null,
    app_id bigint not null,
    error text not null,
    event_sealed bytea not null
);
