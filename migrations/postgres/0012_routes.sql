-- Which handlers get which events. While there is no row every handler gets everything.
create table routes (
    id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    -- By name: nodes of one database may have different handlers.
    handler text not null,
    -- Which events it is about: an object of lists, as the API has it.
    matches text not null,
    -- received, stored or answered; none: what the node's setting says.
    ack text,
    enabled bigint not null,
    -- Rises with every change.
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null
);

-- Numbers that rise with every change of something, by which the nodes of a database learn of each other's changes.
create table marks (
    name text collate "C" primary key,
    mark bigint not null
);

insert into marks (name, mark) values ('routes', 1);
