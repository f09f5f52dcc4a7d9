"""Rules, settings of single cameras, what is stored about people besides photos, and deletions that can be undone."""

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = """
-- content: see recognizer/rules/rule_model.py, encrypted where there is a key; since: events before this are not reported, in
-- seconds since 1970; off_by: the node that will end what the rule switched on, off_at: when
create table rule (
    id text primary key,
    content bytea not null,
    since double precision not null,
    off_by text,
    off_at timestamptz,
    position bigint generated always as identity
);

-- which events of a node a rule has reported, so that all nodes together report somebody as often as the rule allows. subject:
-- null for somebody unknown, and for somebody who was erased since
create table rule_report (
    rule text not null references rule on delete cascade,
    node text not null references node on delete cascade,
    event bigint not null,
    known boolean not null,
    subject bigint references subject on delete set null,
    at timestamptz not null default now(),
    primary key (rule, node, event)
);
create index rule_report_subject on rule_report (subject) where subject is not null;

-- zones, masks and schedules: no names of people. The camera `default` has no row in `camera`
create table camera_setting (camera text primary key, content jsonb not null);

-- about: see recognizer/core/particulars.py, encrypted where there is a key
alter table subject add column about bytea;

-- note: see recognizer/enrolment/bin_folder.py; content: the rows that are restored. Both are encrypted where there is a key
create table bin (
    id text primary key,
    people_group bigint not null references people_group on delete cascade,
    subject text not null,
    deleted double precision not null,
    note bytea not null,
    content bytea not null
);
create index bin_subject on bin (people_group, subject);
create table bin_photo (item text not null references bin on delete cascade, photo text not null, primary key (item, photo));
create index bin_photo_by_id on bin_photo (photo);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
