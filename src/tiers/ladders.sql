-- Ladders: what the tiers on them measure.

CREATE TABLE customer_groups.ladders (
	code text,
	name text NOT NULL,
	measure text NOT NULL DEFAULT 'net_sales',
	period interval,
	downgrade text NOT NULL DEFAULT 'never',
	grace interval NOT NULL DEFAULT '0 days',
	CONSTRAINT ladders_pkey PRIMARY KEY (code),
	CONSTRAINT ladders_code_check CHECK (code = btrim(code) AND code <> ''),
	CONSTRAINT ladders_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT ladders_measure_check CHECK (measure IN ('net_sales', 'visits')),
	CONSTRAINT ladders_period_check CHECK (period >= interval '1 day' AND period <= interval '100 years'),
	CONSTRAINT ladders_downgrade_check CHECK (downgrade IN ('never', 'at_review')),
	CONSTRAINT ladders_grace_check CHECK (grace >= interval '0' AND grace <= interval '100 years')
);
COMMENT ON TABLE customer_groups.ladders IS 'Ladders of tiers; the ladder ''default'' needs no row and measures net_sales over the whole time.';
COMMENT ON COLUMN customer_groups.ladders.code IS 'Key.';
COMMENT ON COLUMN customer_groups.ladders.name IS 'Name, not blank.';
COMMENT ON COLUMN customer_groups.ladders.measure IS 'What its thresholds are compared with: net_sales (in the settings'' currency) or visits.';
COMMENT ON COLUMN customer_groups.ladders.period IS 'Which sales count: those of the days d with D - period < d <= D, where D is the day of the latest sale touched, or of the review; null: all sales.';
COMMENT ON COLUMN customer_groups.ladders.downgrade IS 'never, or at_review: review_tiers() lowers who no longer qualifies; bookings never do.';
COMMENT ON COLUMN customer_groups.ladders.grace IS 'How long a tier is kept after the last day on which it was earned, or without such a day after its addition.';
