-- Which handlers get which events. While there is no row every handler gets everything.
create table routes (
    id integer primary key autoincrement,
    name text not null unique,
    -- By name: nodes of one database may have different handlers.
    handler text not null,
    -- Which events it is about: an object of lists, as the API has it.
    matches text not null,
    -- received, stored or answered; none: what the node's setting says.
    ack text,
    enabled integer not null,
    -- Rises with every change.
    version integer not null,
    created_at integer not null,
    updated_at integer not null
) strict;

-- Numbers that rise with every change of something, by which the nodes of a database learn of each other's changes.
create table marks (
    name text primary key,
    mark integer not null
) strict, without rowid;

insert into marks (name, mark) values ('routes', 1);
