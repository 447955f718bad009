-- What keeps a workspace down whatever its app's connection does: uninstalled, or its bot token revoked.

-- The code of it, and since when it is so.
alter table workspaces add column trouble text;
alter table workspaces add column trouble_at bigint;
-- What happened before this is over: a new bot token or a connect came after it. None: since the workspace was made.
alter table workspaces add column forgiven_at bigint;
-- Until then Slack holds its events back, as far as is known.
alter table workspaces add column limited_until bigint;
