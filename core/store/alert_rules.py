"""Alert rules and alerts of a tenant: one open alert a rule and channel, whoever writes and however often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, and_, func, or_, select

from core.codec import from_json, to_json
from core.errors import NotFound
from core.schemas.alerts import ON_POSTS, OPEN, Alert, AlertRule, AlertState, RuleSpec
from core.store import schema
from core.store.database import Database
from core.store.ids import new_id
from core.store.shards import Shard


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule as it is watched: with its channel's id, and addresses as they were given."""

    id: str
    spec: RuleSpec
    enabled: bool
    created_at: int
    channel_id: int | None


@dataclass(frozen=True)
class AlertStore:
    """Rules and alerts; alerts are written in the caller's transaction, with the state that led to them."""

    database: Database
    tenant: str = "default"

    # ------------------------------------------------------------ rules

    def add_rule(self, spec: RuleSpec, channel_id: int | None, key: str, enabled: bool, now: int) -> StoredRule:
        """Store a rule; the same key gives the rule that was stored under it first."""
        table = schema.alert_rule
        row = {
            "id": new_id(),
            "tenant": self.tenant,
            "name": spec.name,
            "channel_id": channel_id,
            "spec": to_json(spec),
            "enabled": enabled,
            "request_key": f"{self.tenant}:{key}",
            "created_at": now,
        }
        insert = self.database.insert(table).values(row).on_conflict_do_nothing(index_elements=["request_key"])
        with self.database.write() as connection:
            connection.execute(insert)
            found = connection.execute(select(table).where(table.c.request_key == row["request_key"])).one()
        return _rule(found)

    def rules(self, channel_id: int | None = None, enabled: bool | None = None) -> tuple[StoredRule, ...]:
        """By name, without removed ones; channel_id: the channel's own and those for every channel."""
        table = schema.alert_rule
        query = select(table).where(table.c.tenant == self.tenant, table.c.removed_at.is_(None))
        if channel_id is not None:
            query = query.where(or_(table.c.channel_id == channel_id, table.c.channel_id.is_(None)))
        if enabled is not None:
            query = query.where(table.c.enabled.is_(enabled))
        with self.database.read() as connection:
            return tuple(map(_rule, connection.execute(query.order_by(table.c.name, table.c.id))))

    def rule(self, rule_id: str, connection: Connection | None = None) -> StoredRule:
        """One rule; NotFound for one that is not there or was removed."""
        if connection is None:
            with self.database.read() as own:
                return self.rule(rule_id, own)
        table = schema.alert_rule
        where = and_(table.c.id == rule_id, table.c.tenant == self.tenant, table.c.removed_at.is_(None))
        row = connection.execute(select(table).where(where)).one_or_none()
        if row is None:
            raise NotFound(f"no alert rule {rule_id!r}", rule=rule_id)
        return _rule(row)

    def set_rule(self, connection: Connection, rule_id: str, *, enabled: bool, removed_at: int | None = None) -> None:
        """Switch a rule on or off, or take it away."""
        table = schema.alert_rule
        values: dict[str, object] = {"enabled": enabled, "removed_at": removed_at}
        if removed_at is not None:
            values["request_key"] = None  # the same request may store it again
        connection.execute(table.update().where(table.c.id == rule_id).values(**values))

    # ------------------------------------------------------------ alerts

    def watching(self, connection: Connection) -> frozenset[str]:
        """Ids of the rules that watch; nobody switches or removes one until the transaction ends."""
        table = schema.alert_rule
        where = and_(table.c.tenant == self.tenant, table.c.enabled.is_(True), table.c.removed_at.is_(None))
        return frozenset(connection.execute(select(table.c.id).where(where).with_for_update(read=True)).scalars())

    def add(self, connection: Connection, channel_id: int, alert: Alert, next_at: int | None) -> bool:
        """Insert an alert unless one with its id was ever stored; whether it was new."""
        insert = self.database.insert(schema.alert).values(self._row(channel_id, alert, next_at))
        return bool(connection.execute(insert.on_conflict_do_nothing(index_elements=["id"])).rowcount)

    def save(self, connection: Connection, channel_id: int, alert: Alert, next_at: int | None) -> None:
        """Insert an alert or write what became of it; next_at: when time alone will change it.

        A second open alert of the same rule and channel is an integrity error: callers look first.
        """
        table = schema.alert
        insert = self.database.insert(table).values(self._row(channel_id, alert, next_at))
        fresh = {name: insert.excluded[name] for name in ("state", "record", "open_key", "next_at", "resolved_at")}
        connection.execute(insert.on_conflict_do_update(index_elements=[table.c.id], set_=fresh))

    def _row(self, channel_id: int, alert: Alert, next_at: int | None) -> dict[str, object]:
        alone = f"{alert.rule_id}:{channel_id}" if alert.kind not in ON_POSTS else alert.id
        return {
            "id": alert.id,
            "tenant": self.tenant,
            "rule_id": alert.rule_id,
            "channel_id": channel_id,
            "state": alert.state,
            "record": to_json(alert),
            "open_key": alone if alert.state in OPEN else None,
            "next_at": next_at,
            "raised_at": alert.raised_at,
            "resolved_at": alert.resolved_at,
        }

    def alert(self, alert_id: str, connection: Connection | None = None) -> tuple[int, Alert]:
        """An alert and its channel's id; NotFound. Inside a transaction it is locked until that ends."""
        if connection is None:
            with self.database.read() as own:
                return self.alert(alert_id, own)
        table = schema.alert
        query = select(table.c.channel_id, table.c.record).where(table.c.id == alert_id, table.c.tenant == self.tenant)
        row = connection.execute(query.with_for_update()).one_or_none()
        if row is None:
            raise NotFound(f"no alert {alert_id!r}", alert=alert_id)
        return int(row.channel_id), from_json(Alert, row.record)

    def open_of(self, connection: Connection, rule_id: str, channel_id: int | None = None) -> list[tuple[int, Alert]]:
        """Open alerts of a rule, locked until the transaction ends."""
        table = schema.alert
        query = select(table.c.channel_id, table.c.record).where(
            table.c.rule_id == rule_id, table.c.open_key.is_not(None)
        )
        if channel_id is not None:
            query = query.where(table.c.channel_id == channel_id)
        return _alerts(connection.execute(query.order_by(table.c.id).with_for_update()).all())

    def due(self, now: int, shard: Shard = Shard(), limit: int = 500) -> list[str]:  # noqa: B008 - a value
        """Ids of alerts that time alone changes by now, in a shard's channels."""
        table = schema.alert
        query = select(table.c.id).where(table.c.tenant == self.tenant, table.c.next_at <= now)
        query = query.where(table.c.channel_id % shard.of == shard.index)
        with self.database.read() as connection:
            return list(connection.execute(query.order_by(table.c.next_at).limit(limit)).scalars())

    def alerts(
        self,
        channel_id: int | None = None,
        state: AlertState | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
    ) -> tuple[Alert, ...]:
        """Newest first; since: raised then or later, or not resolved before; until: raised before."""
        table = schema.alert
        query = select(table.c.channel_id, table.c.record).where(table.c.tenant == self.tenant)
        if channel_id is not None:
            query = query.where(table.c.channel_id == channel_id)
        if state is not None:
            query = query.where(table.c.state == state)
        if since is not None:
            going_on = or_(table.c.resolved_at.is_(None), table.c.resolved_at >= since)
            query = query.where(or_(table.c.raised_at >= since, going_on))
        if until is not None:
            query = query.where(table.c.raised_at < until)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(table.c.raised_at.desc(), table.c.id).limit(limit)).all()
        return tuple(alert for _, alert in _alerts(rows))

    def count_open(self) -> int:
        """Alerts that are not resolved."""
        table = schema.alert
        query = select(func.count()).where(table.c.tenant == self.tenant, table.c.open_key.is_not(None))
        with self.database.read() as connection:
            return int(connection.execute(query).scalar_one())


def public(rule: StoredRule, spec: RuleSpec) -> AlertRule:
    """A rule as it is shown, with a spec whose addresses may be seen."""
    return AlertRule(rule.id, spec, rule.enabled, rule.created_at)


def _rule(row: Row[*tuple[object, ...]]) -> StoredRule:
    return StoredRule(row.id, from_json(RuleSpec, row.spec), bool(row.enabled), row.created_at, row.channel_id)


def _alerts(rows: Sequence[Row[*tuple[object, ...]]]) -> list[tuple[int, Alert]]:
    return [(int(row.channel_id), from_json(Alert, row.record)) for row in rows]
