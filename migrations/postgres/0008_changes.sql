-- By which the nodes of a database learn of each other's changes, and each of its own whose outcome it never heard: a number that
-- rises with every change of an app or of a workspace on it.
alter table apps add column change bigint not null default 0;
create index apps_change on apps (change);
