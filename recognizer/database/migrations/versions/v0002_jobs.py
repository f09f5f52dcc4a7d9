"""Jobs: large batches of photos that any node works off; see recognizer/jobs/job_store.py."""

from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = """
create table job (
    id text primary key,
    operation text not null,
    options bytea not null,
    state text not null,
    made double precision not null,
    begun double precision,
    ended double precision,
    photos integer not null,
    done integer not null,
    failed integer not null,
    error text,
    taken_by text,
    taken_until double precision
);
create table job_photo (
    job text not null references job on delete cascade,
    place integer not null,
    state text not null,
    source bytea not null,
    photo bytea,
    bytes bigint not null,
    subject text,
    result bytea,
    attempts integer not null,
    taken_by text,
    taken_until double precision,
    primary key (job, place)
);
create index job_photo_waiting on job_photo (place, job) where state = 'waiting';
create index job_photo_subject on job_photo (subject) where subject is not null;
create index job_photo_taken on job_photo (taken_by) where taken_by is not null;
create table job_name (
    name text not null,
    job text not null references job on delete cascade,
    place integer not null,
    primary key (name, job, place)
);
create index job_name_job on job_name (job);
create table job_edition (number bigint not null);
insert into job_edition values (1);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
