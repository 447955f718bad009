-- Of which workspace alone a change is; of all on the app where none is named.
alter table transitions add column workspace_id integer;
