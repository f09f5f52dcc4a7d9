"""Cameras that nodes share, and which node reads which; where a node is reached."""

from alembic import op

revision = "0003"
down_revision = "0002"

_TABLES = """
-- url: where the other nodes reach this one
alter table node add column url text, add column reads_cameras boolean not null default false;

-- source: encrypted where there is a key; people: the group whose people are named; home: the node it was added on
create table camera (
    id text primary key,
    name text not null,
    source bytea not null,
    always boolean not null default false,
    people text,
    home text not null,
    position bigint generated always as identity
);
create table camera_removed (id text primary key, name text not null, position bigint generated always as identity);

-- the node that reads a camera until then, unless it says again that it does; state: as the node last saw the camera
create table camera_lease (
    camera text primary key,
    node text not null references node on delete cascade,
    until timestamptz not null,
    state jsonb
);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement.replace("%", "%%"))
