"""Where events are sent, and the browsers that get notifications."""

from alembic import op

revision = "0007"
down_revision = "0006"

_TABLE = """
-- content: see recognizer/events/receiver_store.py and recognizer/rules/push_store.py, encrypted where there is a key
-- revision: another one for other content
create table kept (key text primary key, content bytea not null, revision bigint not null default 1)
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(_TABLE)
