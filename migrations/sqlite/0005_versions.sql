-- A number that rises with every change a caller makes to a workspace: what If-Match compares. What a connection learns does not
-- move it.
alter table workspaces add column version integer not null default 1;
