"""Marks by month: the ticks move into partitions, and candles of a minute take the place of the old ones."""

import django.db.models.deletion
from django.db import migrations, models

from config.db import functions
from config.db.wall import narrow_grants
from portfolios.models import positive

TICKS = """
ALTER TABLE margin_marktick RENAME TO margin_formertick;
ALTER INDEX margin_marktick_pkey RENAME TO margin_formertick_pkey;
CREATE TABLE margin_marktick (
    instrument_id bigint NOT NULL CONSTRAINT margin_marktick_instrument_id_fk REFERENCES portfolios_instrument (id)
        DEFERRABLE INITIALLY DEFERRED,
    source varchar(32) NOT NULL,
    sequence bigint NOT NULL,
    price numeric(38, 18) NOT NULL,
    low_price numeric(38, 18) NOT NULL,
    high_price numeric(38, 18) NOT NULL,
    source_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, source_at, sequence, source) INCLUDE (received_at, price),
    CONSTRAINT margin_marktick_price_positive CHECK (price > 0 AND price < 1e18),
    CONSTRAINT margin_marktick_low_price_positive CHECK (low_price > 0 AND low_price < 1e18),
    CONSTRAINT margin_marktick_high_price_positive CHECK (high_price > 0 AND high_price < 1e18)
) PARTITION BY RANGE (source_at);
"""
CANDLES = """
CREATE TABLE margin_markcandle (
    instrument_id bigint NOT NULL CONSTRAINT margin_markcandle_instrument_id_fk REFERENCES portfolios_instrument (id)
        DEFERRABLE INITIALLY DEFERRED,
    minute_at timestamptz NOT NULL,
    open_price numeric(38, 18) NOT NULL,
    high_price numeric(38, 18) NOT NULL,
    low_price numeric(38, 18) NOT NULL,
    close_price numeric(38, 18) NOT NULL,
    ticks int NOT NULL,
    source varchar(32) NOT NULL,
    sequence bigint NOT NULL,
    closed_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, minute_at, closed_at, sequence, source, received_at),
    CONSTRAINT margin_markcandle_open_price_positive CHECK (open_price > 0 AND open_price < 1e18),
    CONSTRAINT margin_markcandle_high_price_positive CHECK (high_price > 0 AND high_price < 1e18),
    CONSTRAINT margin_markcandle_low_price_positive CHECK (low_price > 0 AND low_price < 1e18),
    CONSTRAINT margin_markcandle_close_price_positive CHECK (close_price > 0 AND close_price < 1e18)
) PARTITION BY RANGE (minute_at);
"""
# What says that it was quoted before the year 2000 was never true, and no partition is made for it.
MOVE = """
SELECT app_ensure_partitions((today - interval '1 month')::date, (today + interval '3 months')::date)
    FROM (SELECT now() AT TIME ZONE 'UTC' AS today) clock;
SELECT app_ensure_partitions(month, month) FROM (
    SELECT DISTINCT date_trunc('month', source_at AT TIME ZONE 'UTC')::date AS month FROM margin_formertick
    WHERE source_at >= '2000-01-01 00:00:00+00') found;
INSERT INTO margin_marktick (instrument_id, source, sequence, price, low_price, high_price, source_at, received_at)
    SELECT instrument_id, source, sequence, price, low_price, high_price, source_at, received_at
    FROM margin_formertick WHERE source_at >= '2000-01-01 00:00:00+00';
DROP TABLE margin_formertick;
"""


class Migration(migrations.Migration):
    dependencies = [("margin", "0003_sealed_days")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(TICKS)],
            [
                migrations.DeleteModel("MarkTick"),
                migrations.CreateModel(
                    name="MarkTick",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                *("instrument", "source_at", "sequence", "source"),
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("source", models.CharField(max_length=32)),
                        ("sequence", models.BigIntegerField()),
                        ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                        ("low_price", models.DecimalField(decimal_places=18, max_digits=38)),
                        ("high_price", models.DecimalField(decimal_places=18, max_digits=38)),
                        ("source_at", models.DateTimeField()),
                        ("received_at", models.DateTimeField()),
                        (
                            "instrument",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                to="portfolios.instrument",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            positive("margin_marktick", name) for name in ("price", "low_price", "high_price")
                        ],
                    },
                ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(CANDLES)],
            [
                migrations.CreateModel(
                    name="MarkCandle",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                *(
                                    "instrument",
                                    "minute_at",
                                    "closed_at",
                                    "sequence",
                                    "source",
                                    "received_at",
                                ),
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("minute_at", models.DateTimeField()),
                        ("open_price", models.DecimalField(decimal_places=18, max_digits=38)),
                        ("high_price", models.DecimalField(decimal_places=18, max_digits=38)),
                        ("low_price", models.DecimalField(decimal_places=18, max_digits=38)),
                        ("close_price", models.DecimalField(decimal_places=18, max_digits=38)),
                        ("ticks", models.IntegerField()),
                        ("source", models.CharField(max_length=32)),
                        ("sequence", models.BigIntegerField()),
                        ("closed_at", models.DateTimeField()),
                        ("received_at", models.DateTimeField()),
                        (
                            "instrument",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                to="portfolios.instrument",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            positive("margin_markcandle", name)
                            for name in ("open_price", "high_price", "low_price", "close_price")
                        ],
                    },
                ),
            ],
        ),
        narrow_grants("margin_marktick", web="SELECT", worker="SELECT, INSERT, DELETE"),
        narrow_grants("margin_markcandle", web="SELECT", worker="SELECT, INSERT, DELETE"),
        migrations.RunSQL(functions.ENSURE_PARTITIONS),
        migrations.RunSQL(MOVE),
    ]
