"""Photos that were dropped beside the nodes' photos and cannot be used; see recognizer/service/dropped_photos.py."""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLE = """
-- place: below `people`; stamp: of the content that was examined
create table dropped (
    place text primary key,
    stamp text not null,
    people_group bigint not null references people_group on delete cascade,
    subject text not null,
    code text not null,
    message text not null
)
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(_TABLE)
