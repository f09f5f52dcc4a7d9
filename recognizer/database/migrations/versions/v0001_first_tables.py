"""The first tables: subjects, photos, templates, changes, nodes, keys, sessions, settings and the audit log."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
create extension if not exists vector;

-- what all nodes have in common; one row. pruned: number of the last change that was deleted for its age
create table installation (
    single boolean primary key default true check (single),
    engine text not null,
    dim integer not null check (dim > 0),
    sealed_by text,
    pruned bigint not null default 0,
    made timestamptz not null default now()
);

-- every node that ever started and was not removed by `database forget`
create table node (
    id text primary key,
    name text not null,
    version text not null,
    started timestamptz not null default now(),
    seen timestamptz not null default now(),
    applied bigint not null default 0
);

-- folded: equal for names that readers cannot tell apart; ends: when the consent in `expires` ends
create table subject (
    id bigint generated always as identity primary key,
    name text not null unique,
    folded text not null unique,
    note bytea,
    expires text,
    ends timestamptz,
    made timestamptz not null default now()
);
create index subject_ends on subject (ends) where ends is not null;

-- copy_of: the photo of the same subject that is the same picture and stands for both
create table photo (
    subject bigint not null references subject on delete cascade,
    photo text not null,
    face text not null default 'only',
    extension text not null default '',
    size bigint not null default 0,
    kept boolean not null default false,
    box double precision[],
    score double precision,
    width integer,
    height integer,
    copy_of text,
    thumbnail bytea,
    added timestamptz not null default now(),
    primary key (subject, photo)
);
create index photo_by_id on photo (photo);
create index photo_copies on photo (subject) where copy_of is not null;
create index photo_forced on photo (photo) where face like '%+forced';

-- either v, or sealed: the same numbers encrypted
create table template (
    subject bigint not null,
    photo text not null,
    engine text not null,
    v vector,
    sealed bytea,
    primary key (subject, photo, engine),
    foreign key (subject, photo) references photo on update cascade on delete cascade,
    check ((v is null) <> (sealed is null))
);
alter table template alter column v set storage plain;

-- what the nodes read to follow each other; without names, see recognizer/database/connection.py
create table change (
    seq bigint generated always as identity primary key,
    kind text not null check (kind in ('photo', 'subject', 'merge')),
    subject bigint not null,
    photo text,
    other bigint,
    at timestamptz not null default clock_timestamp()
);
create index change_at on change (at);

-- photos whose rows are gone and which are still stored
create table orphan (photo text primary key);

-- erasures and renamings that a node still has to do in what it keeps for itself
create table node_work (
    id bigint generated always as identity primary key,
    node text not null references node on delete cascade,
    about bytea not null,
    made timestamptz not null default now()
);

create table access_key (
    id text primary key,
    name text not null,
    role text not null,
    hash text not null,
    made double precision not null,
    expires double precision,
    revoked double precision
);
create table access_session (
    token text primary key,
    key text not null,
    proof text not null,
    expires double precision not null
);
-- increased whenever keys or sessions change
create table access_version (single boolean primary key default true check (single), number bigint not null);
insert into access_version (number) values (1);

create table setting (name text primary key, value double precision not null);

-- line: exactly as it would be in the file; see recognizer/core/audit.py
create table audit_line (seq bigint primary key, line bytea not null);
create table audit_name (about text primary key, name bytea not null);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement.replace("%", "%%"))
