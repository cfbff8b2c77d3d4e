\echo Use "CREATE EXTENSION customer_groups" to load this file. \quit

-- What this script does not qualify is pg_catalog's, never the schema's own, where
-- somebody else could have put what fits better. String literals with a backslash
-- are written E'': how others read is a setting of the session.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The schema must be empty of code, and nobody else's, who could put some into it.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_proc
			   WHERE pronamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace)
		OR EXISTS (SELECT FROM pg_catalog.pg_operator
				   WHERE oprnamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace)
		OR EXISTS (SELECT FROM pg_catalog.pg_type
				   WHERE typnamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace)
	THEN
		RAISE EXCEPTION 'schema "customer_groups" is not empty'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Drop or rename what is in the schema, then create the extension again.';
	END IF;
	-- To a superuser, who restores it, it may belong to whom the extension will not.
	IF EXISTS (SELECT FROM pg_catalog.pg_namespace n
			   WHERE n.nspname OPERATOR(pg_catalog.=) 'customer_groups'
				AND n.nspowner OPERATOR(pg_catalog.<>) '@extowner@'::pg_catalog.regrole
				AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r
						 WHERE r.oid OPERATOR(pg_catalog.=) '@extowner@'::pg_catalog.regrole))
	THEN
		RAISE EXCEPTION 'schema "customer_groups" belongs to another role'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = pg_catalog.format('Its owner is %s, and the extension would belong to %s.',
					(SELECT n.nspowner::pg_catalog.regrole FROM pg_catalog.pg_namespace n
					 WHERE n.nspname OPERATOR(pg_catalog.=) 'customer_groups'), '@extowner@'),
				HINT = 'Drop the schema: it is created with the extension.';
	END IF;
	IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
		RAISE EXCEPTION 'customer_groups needs a database in UTF8'
			USING ERRCODE = 'feature_not_supported',
				DETAIL = pg_catalog.format('This database is in %s.', pg_catalog.getdatabaseencoding()),
				HINT = 'Create a database with ENCODING ''UTF8''.';
	END IF;
END
$$;
-- How far a function that takes long has come.

CREATE FUNCTION customer_groups.report_progress(what text, done bigint, total bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'cg_report_progress' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION customer_groups.report_progress(text, bigint, bigint) IS
	'Shows, before the query in pg_stat_activity and every ten seconds as a NOTICE, how many customers of all something is done for; once they are all done the query is shown as it is. For the functions that change many customers; null does nothing.';
-- The calendar: time zones and days.

CREATE FUNCTION customer_groups.is_timezone(name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_is_timezone'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.is_timezone(text) IS
	'Whether the name is a time zone, and the same one to SET timezone and to AT TIME ZONE (CET is not: use Europe/Paris); null for null.';

CREATE FUNCTION customer_groups.month_day(day date) RETURNS int
	AS 'MODULE_PATHNAME', 'cg_month_day'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.month_day(date) IS
	'Month and day of the month as one number: 312 for 12 March; null for null and infinite dates.';
-- What is money: for constraints of tables, before prices can be asked for.

CREATE FUNCTION customer_groups.currency_digits(currency text) RETURNS int
	AS 'MODULE_PATHNAME', 'cg_currency_digits'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.currency_digits(text) IS
	'Digits after the decimal point of a currency''s minor unit by ISO 4217: 0 for KRW, 2 for USD, 3 for KWD; null for a code that is not in ISO 4217.';

CREATE FUNCTION customer_groups.is_money(amount numeric) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_is_money'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.is_money(numeric) IS
	'Whether the number can be a price, a value or a limit of a promotion: from 0 to less than 100,000,000,000,000 with at most 8 decimals; null for null.';
-- The shop: settings, stores, what it sells and to whom.

CREATE TABLE customer_groups.settings (
	singleton boolean DEFAULT true,
	currency text NOT NULL DEFAULT 'USD',
	timezone text NOT NULL DEFAULT 'UTC',
	rounding text NOT NULL DEFAULT 'half_up',
	enroll_many boolean NOT NULL DEFAULT false,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT settings_pkey PRIMARY KEY (singleton),
	CONSTRAINT settings_singleton_check CHECK (singleton),
	CONSTRAINT settings_currency_check CHECK (customer_groups.currency_digits(currency) IS NOT NULL),
	CONSTRAINT settings_timezone_check CHECK (customer_groups.is_timezone(timezone)),
	CONSTRAINT settings_rounding_check CHECK (rounding IN ('half_up', 'half_even')),
	CONSTRAINT settings_recorded_at_check CHECK (isfinite(recorded_at))
);
COMMENT ON TABLE customer_groups.settings IS 'The shop''s settings: at most one row; none means the defaults.';
COMMENT ON COLUMN customer_groups.settings.singleton IS 'Always true: keeps the table to one row.';
COMMENT ON COLUMN customer_groups.settings.currency IS 'ISO 4217 code of the currency of net_sales and of prices without a store; fixed once there are sales.';
COMMENT ON COLUMN customer_groups.settings.timezone IS 'Time zone whose calendar days count where no store is given.';
COMMENT ON COLUMN customer_groups.settings.rounding IS 'How a price is rounded to the minor unit: half_up or half_even.';
COMMENT ON COLUMN customer_groups.settings.enroll_many IS 'Whether a customer may enroll in more than one group.';
COMMENT ON COLUMN customer_groups.settings.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

-- Defaults must work for roles that may not read the settings, hence definer's rights.
CREATE FUNCTION customer_groups.settings_currency() RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT coalesce((SELECT currency FROM customer_groups.settings), 'USD') $$;
COMMENT ON FUNCTION customer_groups.settings_currency() IS 'The settings'' currency, USD without a settings row.';

CREATE FUNCTION customer_groups.settings_timezone() RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT coalesce((SELECT timezone FROM customer_groups.settings), 'UTC') $$;
COMMENT ON FUNCTION customer_groups.settings_timezone() IS 'The settings'' time zone, UTC without a settings row.';

CREATE FUNCTION customer_groups.set_default_code() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	NEW.code := NEW.id::text;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION customer_groups.set_default_code() IS 'Trigger: a code left out is the id.';

CREATE TABLE customer_groups.stores (
	id int GENERATED BY DEFAULT AS IDENTITY,
	code text NOT NULL,
	name text NOT NULL,
	currency text NOT NULL DEFAULT customer_groups.settings_currency(),
	timezone text NOT NULL DEFAULT customer_groups.settings_timezone(),
	CONSTRAINT stores_pkey PRIMARY KEY (id),
	CONSTRAINT stores_code_key UNIQUE (code),
	CONSTRAINT stores_code_check CHECK (code = btrim(code) AND code <> ''),
	CONSTRAINT stores_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT stores_currency_check CHECK (customer_groups.currency_digits(currency) IS NOT NULL),
	CONSTRAINT stores_timezone_check CHECK (customer_groups.is_timezone(timezone))
);
CREATE TRIGGER set_default_code BEFORE INSERT ON customer_groups.stores
	FOR EACH ROW WHEN (NEW.code IS NULL) EXECUTE FUNCTION customer_groups.set_default_code();
COMMENT ON TABLE customer_groups.stores IS 'Stores; each has its currency and its calendar.';
COMMENT ON COLUMN customer_groups.stores.id IS 'Key.';
COMMENT ON COLUMN customer_groups.stores.code IS 'The shop''s own key; the id when left out.';
COMMENT ON COLUMN customer_groups.stores.name IS 'Name, not blank.';
COMMENT ON COLUMN customer_groups.stores.currency IS 'ISO 4217 code of its prices and sales; the settings'' when left out; fixed once it has sales.';
COMMENT ON COLUMN customer_groups.stores.timezone IS 'Time zone of its calendar days; the settings'' when left out.';

CREATE FUNCTION customer_groups.earliest_today() RETURNS date
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT least((now() AT TIME ZONE customer_groups.settings_timezone())::date,
				 (SELECT min((now() AT TIME ZONE s.timezone)::date) FROM customer_groups.stores s))
$$;
COMMENT ON FUNCTION customer_groups.earliest_today() IS
	'The earliest current day among the time zones of the settings and the stores: what starts on it has started everywhere.';

CREATE TABLE customer_groups.brands (
	id int GENERATED BY DEFAULT AS IDENTITY,
	code text NOT NULL,
	name text NOT NULL,
	CONSTRAINT brands_pkey PRIMARY KEY (id),
	CONSTRAINT brands_code_key UNIQUE (code),
	CONSTRAINT brands_code_check CHECK (code = btrim(code) AND code <> ''),
	CONSTRAINT brands_name_check CHECK (name ~ '[^[:space:]]')
);
CREATE TRIGGER set_default_code BEFORE INSERT ON customer_groups.brands
	FOR EACH ROW WHEN (NEW.code IS NULL) EXECUTE FUNCTION customer_groups.set_default_code();
COMMENT ON TABLE customer_groups.brands IS 'Brands of items.';
COMMENT ON COLUMN customer_groups.brands.id IS 'Key.';
COMMENT ON COLUMN customer_groups.brands.code IS 'The shop''s own key; the id when left out.';
COMMENT ON COLUMN customer_groups.brands.name IS 'Name, not blank.';

CREATE TABLE customer_groups.categories (
	id int GENERATED BY DEFAULT AS IDENTITY,
	code text NOT NULL,
	name text NOT NULL,
	parent_id int,
	CONSTRAINT categories_pkey PRIMARY KEY (id),
	CONSTRAINT categories_code_key UNIQUE (code),
	CONSTRAINT categories_code_check CHECK (code = btrim(code) AND code <> ''),
	CONSTRAINT categories_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT categories_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES customer_groups.categories
);
CREATE INDEX categories_parent_id_idx ON customer_groups.categories (parent_id);
CREATE TRIGGER set_default_code BEFORE INSERT ON customer_groups.categories
	FOR EACH ROW WHEN (NEW.code IS NULL) EXECUTE FUNCTION customer_groups.set_default_code();
COMMENT ON TABLE customer_groups.categories IS 'The tree of categories; a cycle is refused (23514).';
COMMENT ON COLUMN customer_groups.categories.id IS 'Key.';
COMMENT ON COLUMN customer_groups.categories.code IS 'The shop''s own key; the id when left out.';
COMMENT ON COLUMN customer_groups.categories.name IS 'Name, not blank.';
COMMENT ON COLUMN customer_groups.categories.parent_id IS 'The category that this one is part of; null at the top.';

CREATE FUNCTION customer_groups.lock_categories() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_lock_categories' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.lock_categories() IS 'Trigger: lets one transaction at a time change the tree, so that no two make a cycle together.';
CREATE FUNCTION customer_groups.check_categories() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_check_categories' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.check_categories() IS 'Trigger: refuses a cycle in the tree of categories.';
CREATE TRIGGER lock_insert BEFORE INSERT ON customer_groups.categories
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_categories();
CREATE TRIGGER lock_update BEFORE UPDATE OF id, parent_id ON customer_groups.categories
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_categories();
CREATE TRIGGER check_insert AFTER INSERT ON customer_groups.categories
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_categories();
CREATE TRIGGER check_update AFTER UPDATE ON customer_groups.categories
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_categories();

CREATE TABLE customer_groups.items (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	external_id text,
	sku text,
	name text NOT NULL,
	brand_id int,
	price numeric,
	min_price numeric,
	CONSTRAINT items_pkey PRIMARY KEY (id),
	CONSTRAINT items_external_id_key UNIQUE (external_id),
	CONSTRAINT items_external_id_check CHECK (external_id ~ '[^[:space:]]'),
	CONSTRAINT items_sku_check CHECK (sku ~ '[^[:space:]]'),
	CONSTRAINT items_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT items_price_check CHECK (customer_groups.is_money(price)),
	CONSTRAINT items_min_price_check CHECK (customer_groups.is_money(min_price)),
	CONSTRAINT items_brand_id_fkey FOREIGN KEY (brand_id) REFERENCES customer_groups.brands
);
CREATE INDEX items_brand_id_idx ON customer_groups.items (brand_id);
COMMENT ON TABLE customer_groups.items IS 'What the shop sells.';
COMMENT ON COLUMN customer_groups.items.id IS 'Key.';
COMMENT ON COLUMN customer_groups.items.external_id IS 'The shop''s own key, if it has one; not blank.';
COMMENT ON COLUMN customer_groups.items.sku IS 'Stock keeping unit, if any; not blank.';
COMMENT ON COLUMN customer_groups.items.name IS 'Name, not blank.';
COMMENT ON COLUMN customer_groups.items.brand_id IS 'Brand, if any.';
COMMENT ON COLUMN customer_groups.items.price IS 'List price of one unit in the settings'' currency, at most 8 decimals; null: it has only prices of stores.';
COMMENT ON COLUMN customer_groups.items.min_price IS 'Floor that no discount goes below; null: 0.';

CREATE TABLE customer_groups.item_categories (
	item_id bigint,
	category_id int,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT item_categories_pkey PRIMARY KEY (item_id, category_id),
	CONSTRAINT item_categories_item_id_fkey FOREIGN KEY (item_id) REFERENCES customer_groups.items ON DELETE CASCADE,
	CONSTRAINT item_categories_category_id_fkey FOREIGN KEY (category_id) REFERENCES customer_groups.categories ON DELETE CASCADE,
	CONSTRAINT item_categories_recorded_at_check CHECK (isfinite(recorded_at))
);
CREATE INDEX item_categories_category_id_idx ON customer_groups.item_categories (category_id);
COMMENT ON TABLE customer_groups.item_categories IS 'The categories of an item: any number.';
COMMENT ON COLUMN customer_groups.item_categories.item_id IS 'Item.';
COMMENT ON COLUMN customer_groups.item_categories.category_id IS 'Category; the item is in all those above it as well.';
COMMENT ON COLUMN customer_groups.item_categories.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

CREATE TABLE customer_groups.store_prices (
	item_id bigint,
	store_id int,
	price numeric,
	min_price numeric,
	CONSTRAINT store_prices_pkey PRIMARY KEY (item_id, store_id),
	CONSTRAINT store_prices_item_id_fkey FOREIGN KEY (item_id) REFERENCES customer_groups.items ON DELETE CASCADE,
	CONSTRAINT store_prices_store_id_fkey FOREIGN KEY (store_id) REFERENCES customer_groups.stores ON DELETE CASCADE,
	CONSTRAINT store_prices_price_check CHECK (customer_groups.is_money(price)),
	CONSTRAINT store_prices_min_price_check CHECK (customer_groups.is_money(min_price))
);
CREATE INDEX store_prices_store_id_idx ON customer_groups.store_prices (store_id);
COMMENT ON TABLE customer_groups.store_prices IS 'A store''s own prices, over the item''s.';
COMMENT ON COLUMN customer_groups.store_prices.item_id IS 'Item.';
COMMENT ON COLUMN customer_groups.store_prices.store_id IS 'Store.';
COMMENT ON COLUMN customer_groups.store_prices.price IS 'List price of one unit in the store''s currency; null overrides nothing.';
COMMENT ON COLUMN customer_groups.store_prices.min_price IS 'Floor in the store''s currency; null overrides nothing.';

CREATE TABLE customer_groups.customers (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	external_id text,
	name text,
	email text,
	phone text,
	birth_date date,
	registered_at timestamptz NOT NULL DEFAULT now(),
	skip_auto_upgrade boolean NOT NULL DEFAULT false,
	attributes jsonb NOT NULL DEFAULT '{}',
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT customers_pkey PRIMARY KEY (id),
	CONSTRAINT customers_external_id_key UNIQUE (external_id),
	CONSTRAINT customers_external_id_check CHECK (external_id ~ '[^[:space:]]'),
	CONSTRAINT customers_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT customers_email_check CHECK (email ~ '[^[:space:]]'),
	CONSTRAINT customers_phone_check CHECK (phone ~ '[^[:space:]]'),
	CONSTRAINT customers_birth_date_check CHECK (isfinite(birth_date)),
	CONSTRAINT customers_registered_at_check CHECK (isfinite(registered_at)),
	CONSTRAINT customers_attributes_check CHECK (jsonb_typeof(attributes) = 'object'),
	CONSTRAINT customers_recorded_at_check CHECK (isfinite(recorded_at))
);
COMMENT ON TABLE customer_groups.customers IS 'Customers of the shop.';
COMMENT ON COLUMN customer_groups.customers.id IS 'Key; never updated.';
COMMENT ON COLUMN customer_groups.customers.external_id IS 'The shop''s own key, if it has one; not blank.';
COMMENT ON COLUMN customer_groups.customers.name IS 'Name; null when not known or forgotten.';
COMMENT ON COLUMN customer_groups.customers.email IS 'E-mail address.';
COMMENT ON COLUMN customer_groups.customers.phone IS 'Telephone number.';
COMMENT ON COLUMN customer_groups.customers.birth_date IS 'Date of birth.';
COMMENT ON COLUMN customer_groups.customers.registered_at IS 'When the customer came to the shop.';
COMMENT ON COLUMN customer_groups.customers.skip_auto_upgrade IS 'Neither booking nor review moves the customer between tiers.';
COMMENT ON COLUMN customer_groups.customers.attributes IS 'Whatever else the shop knows: a JSON object.';
COMMENT ON COLUMN customer_groups.customers.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';
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
-- The event log: what happened to memberships and tiers, never changed afterwards.

CREATE TABLE customer_groups.events (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	kind text NOT NULL,
	customer_id bigint,
	group_id int,
	segment_id int,
	promotion_id int,
	actor text NOT NULL DEFAULT session_user,
	app_actor text DEFAULT nullif(current_setting('customer_groups.actor', true), ''),
	detail jsonb NOT NULL DEFAULT '{}',
	CONSTRAINT events_pkey PRIMARY KEY (id),
	CONSTRAINT events_kind_check CHECK (btrim(kind) <> ''),
	CONSTRAINT events_detail_check CHECK (jsonb_typeof(detail) = 'object')
);
CREATE INDEX events_customer_id_idx ON customer_groups.events (customer_id, id);
CREATE INDEX events_segment_id_idx ON customer_groups.events (segment_id, id) WHERE segment_id IS NOT NULL;
COMMENT ON TABLE customer_groups.events IS 'What happened, in the order of id; append-only, without personal data.';
COMMENT ON COLUMN customer_groups.events.id IS 'Key; the events of one customer are in this order.';
COMMENT ON COLUMN customer_groups.events.at IS 'The moment, by the clock.';
COMMENT ON COLUMN customer_groups.events.kind IS 'member_added, member_changed, member_removed; segment_entered, segment_left; tier_upgraded, tier_downgraded (by booking or review; detail: ladder, from, to, the measure that was reached, and the threshold that it has or has no longer reached), tier_changed (by other hands; detail: ladder, from, to); definitions: what they are and _added, _changed, _removed (group_added); customer_forgotten, events_purged.';
COMMENT ON COLUMN customer_groups.events.customer_id IS 'The customer it speaks of, if any.';
COMMENT ON COLUMN customer_groups.events.group_id IS 'The group it speaks of, if any.';
COMMENT ON COLUMN customer_groups.events.segment_id IS 'The segment it speaks of, if any.';
COMMENT ON COLUMN customer_groups.events.promotion_id IS 'The promotion it speaks of, if any.';
COMMENT ON COLUMN customer_groups.events.actor IS 'The session''s user.';
COMMENT ON COLUMN customer_groups.events.app_actor IS 'The setting customer_groups.actor: the backend''s own end user; null when not set.';
COMMENT ON COLUMN customer_groups.events.detail IS 'What changed, with the codes and names that held then.';

CREATE FUNCTION customer_groups.refuse_event_change() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RAISE EXCEPTION 'events are append-only'
		USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('%s on the event log was refused.', TG_OP),
			HINT = 'Insert a new event instead.';
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_event_change() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE of events (55000).';
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON customer_groups.events
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_event_change();
-- Groups, what a store says of them, and their members.

CREATE TABLE customer_groups.groups (
	id int GENERATED BY DEFAULT AS IDENTITY,
	code text NOT NULL,
	name text NOT NULL,
	description text,
	contact_name text,
	contact_info text,
	starts_on date NOT NULL DEFAULT customer_groups.earliest_today(),
	ends_on date,
	use_pricing boolean NOT NULL DEFAULT true,
	self_enroll boolean NOT NULL DEFAULT false,
	ladder text,
	upgrade_threshold numeric,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT groups_pkey PRIMARY KEY (id),
	CONSTRAINT groups_code_key UNIQUE (code),
	CONSTRAINT groups_code_check CHECK (code = btrim(code) AND code <> ''),
	CONSTRAINT groups_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT groups_starts_on_check CHECK (isfinite(starts_on)),
	CONSTRAINT groups_ends_on_check CHECK (isfinite(ends_on) AND ends_on >= starts_on),
	CONSTRAINT groups_upgrade_threshold_check CHECK (upgrade_threshold >= 0 AND upgrade_threshold < 'Infinity'),
	CONSTRAINT groups_recorded_at_check CHECK (isfinite(recorded_at)),
	CONSTRAINT groups_ladder_check CHECK (ladder IS NULL OR upgrade_threshold IS NOT NULL),
	CONSTRAINT groups_ladder_fkey FOREIGN KEY (ladder) REFERENCES customer_groups.ladders ON UPDATE CASCADE
);
CREATE INDEX groups_ladder_idx ON customer_groups.groups (ladder) WHERE upgrade_threshold IS NOT NULL;
COMMENT ON TABLE customer_groups.groups IS 'Groups of customers; one with an upgrade_threshold is a tier of its ladder.';
COMMENT ON COLUMN customer_groups.groups.id IS 'Key.';
COMMENT ON COLUMN customer_groups.groups.code IS 'The shop''s own key; the id when left out.';
COMMENT ON COLUMN customer_groups.groups.name IS 'Name, not blank.';
COMMENT ON COLUMN customer_groups.groups.description IS 'What the group is for.';
COMMENT ON COLUMN customer_groups.groups.contact_name IS 'Who looks after the group.';
COMMENT ON COLUMN customer_groups.groups.contact_info IS 'How to reach who looks after it.';
COMMENT ON COLUMN customer_groups.groups.starts_on IS 'First day in effect; by default the earliest current day of all stores.';
COMMENT ON COLUMN customer_groups.groups.ends_on IS 'Last day in effect; null: no end.';
COMMENT ON COLUMN customer_groups.groups.use_pricing IS 'Whether the group counts for prices in stores without an answer of their own.';
COMMENT ON COLUMN customer_groups.groups.self_enroll IS 'Whether customers may enroll themselves.';
COMMENT ON COLUMN customer_groups.groups.ladder IS 'The ladder of a tier; null: the ladder ''default''.';
COMMENT ON COLUMN customer_groups.groups.upgrade_threshold IS 'What the ladder''s measure must reach (0: any sale); null: the group is no tier. A change moves nobody before the next booking or review.';
COMMENT ON COLUMN customer_groups.groups.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

CREATE FUNCTION customer_groups.set_default_ladder() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	NEW.ladder := NULL;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION customer_groups.set_default_ladder() IS 'Trigger: the ladder ''default'' is written as null, so that it needs no row.';
CREATE TRIGGER set_default_code BEFORE INSERT ON customer_groups.groups
	FOR EACH ROW WHEN (NEW.code IS NULL) EXECUTE FUNCTION customer_groups.set_default_code();
CREATE TRIGGER set_default_ladder BEFORE INSERT OR UPDATE ON customer_groups.groups
	FOR EACH ROW WHEN (NEW.ladder = 'default') EXECUTE FUNCTION customer_groups.set_default_ladder();

CREATE TABLE customer_groups.group_store_pricing (
	group_id int,
	store_id int,
	use_pricing boolean NOT NULL,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT group_store_pricing_pkey PRIMARY KEY (group_id, store_id),
	CONSTRAINT group_store_pricing_group_id_fkey FOREIGN KEY (group_id) REFERENCES customer_groups.groups ON DELETE CASCADE,
	CONSTRAINT group_store_pricing_store_id_fkey FOREIGN KEY (store_id) REFERENCES customer_groups.stores ON DELETE CASCADE
);
CREATE INDEX group_store_pricing_store_id_idx ON customer_groups.group_store_pricing (store_id);
COMMENT ON TABLE customer_groups.group_store_pricing IS 'A store''s own answer on whether a group counts for prices, over the group''s.';
COMMENT ON COLUMN customer_groups.group_store_pricing.group_id IS 'Group.';
COMMENT ON COLUMN customer_groups.group_store_pricing.store_id IS 'Store.';
COMMENT ON COLUMN customer_groups.group_store_pricing.use_pricing IS 'Whether the group counts for prices in this store.';
COMMENT ON COLUMN customer_groups.group_store_pricing.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

CREATE TABLE customer_groups.members (
	customer_id bigint,
	group_id int,
	source text NOT NULL DEFAULT 'manual',
	valid_from date,
	valid_until date,
	added_at timestamptz NOT NULL DEFAULT now(),
	added_by text NOT NULL DEFAULT session_user,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT members_pkey PRIMARY KEY (customer_id, group_id),
	CONSTRAINT members_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customer_groups.customers ON DELETE CASCADE,
	CONSTRAINT members_group_id_fkey FOREIGN KEY (group_id) REFERENCES customer_groups.groups ON DELETE CASCADE,
	CONSTRAINT members_source_check CHECK (source IN ('manual', 'self', 'bulk', 'tier')),
	CONSTRAINT members_valid_from_check CHECK (isfinite(valid_from)),
	CONSTRAINT members_valid_until_check CHECK (isfinite(valid_until) AND (valid_from IS NULL OR valid_until >= valid_from)),
	CONSTRAINT members_added_at_check CHECK (isfinite(added_at)),
	CONSTRAINT members_recorded_at_check CHECK (isfinite(recorded_at))
);
CREATE INDEX members_group_id_idx ON customer_groups.members (group_id, customer_id);
COMMENT ON TABLE customer_groups.members IS 'Who is in which group. Tiers: at most one of each ladder; a new one replaces it.';
COMMENT ON COLUMN customer_groups.members.customer_id IS 'Customer; never updated.';
COMMENT ON COLUMN customer_groups.members.group_id IS 'Group.';
COMMENT ON COLUMN customer_groups.members.source IS 'manual, self (enrolled), bulk or tier (earned).';
COMMENT ON COLUMN customer_groups.members.valid_from IS 'First day; null: no start.';
COMMENT ON COLUMN customer_groups.members.valid_until IS 'Last day; null: no end.';
COMMENT ON COLUMN customer_groups.members.added_at IS 'When the customer was added.';
COMMENT ON COLUMN customer_groups.members.added_by IS 'Who added: the session''s user.';
COMMENT ON COLUMN customer_groups.members.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

CREATE FUNCTION customer_groups.lock_member() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_lock_member' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.lock_member() IS 'Trigger: locks the customer before the membership.';
CREATE TRIGGER lock_member BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.members
	FOR EACH ROW EXECUTE FUNCTION customer_groups.lock_member();
CREATE FUNCTION customer_groups.lock_group() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_lock_group' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.lock_group() IS
	'Trigger: locks the group of a new membership after the customers; one that is gone is 23503.';
-- Triggers fire in the order of their names: this one before the foreign keys' (RI_ConstraintTrigger_...).
CREATE TRIGGER "Lock_group" AFTER INSERT OR UPDATE OF group_id ON customer_groups.members
	FOR EACH ROW EXECUTE FUNCTION customer_groups.lock_group();
CREATE FUNCTION customer_groups.members_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_members_changed' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.members_changed() IS 'Trigger: keeps to one tier of a ladder and writes the events.';
CREATE TRIGGER members_inserted AFTER INSERT ON customer_groups.members
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.members_changed();
CREATE TRIGGER members_updated AFTER UPDATE ON customer_groups.members
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.members_changed();
CREATE TRIGGER members_deleted AFTER DELETE ON customer_groups.members
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.members_changed();

CREATE FUNCTION customer_groups.groups_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_groups_changed' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.groups_changed() IS
	'Trigger: refuses a tier that would give a member two of one ladder (55000), and logs the tiers that members come to hold or lose.';
CREATE TRIGGER groups_updated AFTER UPDATE ON customer_groups.groups
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.groups_changed();
-- Sales, and the facts about each customer that booking keeps from them.

CREATE TYPE customer_groups.sale_kind AS ENUM ('product', 'refund', 'prepaid', 'pass', 'no_show');
COMMENT ON TYPE customer_groups.sale_kind IS 'What a sale is: product (a visit), refund, prepaid, pass, no_show.';

CREATE TABLE customer_groups.sales (
	customer_id bigint,
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	store_id int,
	kind customer_groups.sale_kind NOT NULL DEFAULT 'product',
	amount numeric NOT NULL,
	rate numeric,
	sold_at timestamptz NOT NULL DEFAULT now(),
	external_id text,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	refund_of bigint,
	CONSTRAINT sales_pkey PRIMARY KEY (customer_id, id),
	CONSTRAINT sales_external_id_key UNIQUE (customer_id, external_id),
	CONSTRAINT sales_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customer_groups.customers,
	CONSTRAINT sales_store_id_fkey FOREIGN KEY (store_id) REFERENCES customer_groups.stores,
	CONSTRAINT sales_refund_of_fkey FOREIGN KEY (customer_id, refund_of) REFERENCES customer_groups.sales,
	CONSTRAINT sales_external_id_check CHECK (external_id ~ '[^[:space:]]'),
	CONSTRAINT sales_refund_of_check CHECK (refund_of IS NULL OR (kind = 'refund' AND refund_of <> id)),
	CONSTRAINT sales_amount_check CHECK (CASE WHEN kind = 'refund' THEN amount > '-Infinity' AND amount <= 0
											  ELSE amount >= 0 AND amount < 'Infinity' END),
	CONSTRAINT sales_rate_check CHECK (rate > 0 AND rate < 'Infinity'),
	CONSTRAINT sales_sold_at_check CHECK (isfinite(sold_at)),
	CONSTRAINT sales_recorded_at_check CHECK (isfinite(recorded_at))
);
CREATE INDEX sales_sold_at_idx ON customer_groups.sales (customer_id, sold_at);
-- For what a calendar day brings: sales come in the order of time, so that a small index will do. A range is 32 pages, about
-- 3,000 sales: of more, most would be of other days.
CREATE INDEX sales_sold_at_brin ON customer_groups.sales USING brin (sold_at) WITH (autosummarize = on, pages_per_range = 32);
CREATE INDEX sales_refund_of_idx ON customer_groups.sales (customer_id, refund_of) WHERE refund_of IS NOT NULL;
COMMENT ON TABLE customer_groups.sales IS 'Sales; every change of them is booked into customer_facts at once.';
COMMENT ON COLUMN customer_groups.sales.customer_id IS 'Customer; never updated.';
COMMENT ON COLUMN customer_groups.sales.id IS 'Key of the sale.';
COMMENT ON COLUMN customer_groups.sales.store_id IS 'Store, if any.';
COMMENT ON COLUMN customer_groups.sales.kind IS 'product (the only one that counts as a visit), refund, prepaid, pass or no_show.';
COMMENT ON COLUMN customer_groups.sales.amount IS 'Money received, in the store''s currency; 0 or less for a refund, else 0 or more.';
COMMENT ON COLUMN customer_groups.sales.rate IS 'What one unit of the store''s currency is in the settings'' currency; null or 1 where they are the same, required where they are not.';
COMMENT ON COLUMN customer_groups.sales.sold_at IS 'When it was sold.';
COMMENT ON COLUMN customer_groups.sales.external_id IS 'The shop''s own key, unique for the customer: a second one is refused, so that a retry does not count twice.';
COMMENT ON COLUMN customer_groups.sales.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, which is not booked again.';
COMMENT ON COLUMN customer_groups.sales.refund_of IS 'For a refund: the sale of the same customer that it takes back, in part or all; null when not known. A sale that was refunded is not deleted without its refunds.';

CREATE TABLE customer_groups.customer_facts (
	customer_id bigint,
	visits bigint NOT NULL DEFAULT 0,
	net_sales numeric NOT NULL DEFAULT 0,
	refunds bigint NOT NULL DEFAULT 0,
	prepaid_purchases bigint NOT NULL DEFAULT 0,
	pass_purchases bigint NOT NULL DEFAULT 0,
	no_shows bigint NOT NULL DEFAULT 0,
	first_visit_at timestamptz,
	last_visit_at timestamptz,
	registered_at timestamptz NOT NULL,
	birth_date date,
	skip_auto_upgrade boolean NOT NULL,
	tracked_on date,
	CONSTRAINT customer_facts_pkey PRIMARY KEY (customer_id),
	CONSTRAINT customer_facts_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customer_groups.customers ON DELETE CASCADE
) WITH (fillfactor = 80);
-- None over what an ordinary sale changes, last_visit_at above all: the row would no longer be
-- updated in place (HOT). Who was last here on a day is found by sales_sold_at_brin.
CREATE INDEX customer_facts_registered_at_idx ON customer_groups.customer_facts (registered_at);
CREATE INDEX customer_facts_first_visit_at_idx ON customer_groups.customer_facts (first_visit_at);
CREATE INDEX customer_facts_birthday_idx ON customer_groups.customer_facts (customer_groups.month_day(birth_date))
	WHERE birth_date IS NOT NULL;
COMMENT ON TABLE customer_groups.customer_facts IS 'What follows from a customer''s sales and record, kept by every change of them; the row is also the one lock of the customer.';
COMMENT ON COLUMN customer_groups.customer_facts.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.customer_facts.visits IS 'Number of product sales.';
COMMENT ON COLUMN customer_groups.customer_facts.net_sales IS 'Sum of amount × rate of all sales, in the settings'' currency.';
COMMENT ON COLUMN customer_groups.customer_facts.refunds IS 'Number of refunds.';
COMMENT ON COLUMN customer_groups.customer_facts.prepaid_purchases IS 'Number of prepaid sales.';
COMMENT ON COLUMN customer_groups.customer_facts.pass_purchases IS 'Number of pass sales.';
COMMENT ON COLUMN customer_groups.customer_facts.no_shows IS 'Number of no-shows.';
COMMENT ON COLUMN customer_groups.customer_facts.first_visit_at IS 'Earliest sold_at of a product sale; null without one.';
COMMENT ON COLUMN customer_groups.customer_facts.last_visit_at IS 'Latest sold_at of a product sale; null without one.';
COMMENT ON COLUMN customer_groups.customer_facts.registered_at IS 'From the customer''s record.';
COMMENT ON COLUMN customer_groups.customer_facts.birth_date IS 'From the customer''s record.';
COMMENT ON COLUMN customer_groups.customer_facts.skip_auto_upgrade IS 'From the customer''s record.';
COMMENT ON COLUMN customer_groups.customer_facts.tracked_on IS 'The day up to which the customer''s tracked segments were judged, if later than segment_tracking.reached_on; null: none.';

CREATE FUNCTION customer_groups.check_sale() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_check_sale' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.check_sale() IS 'Trigger: refuses a sale that cannot be booked, and says why and what to do; tells booking what the statement does.';
CREATE FUNCTION customer_groups.book_sales() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_book_sales' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.book_sales() IS 'Trigger: keeps customer_facts and tiers in step with the sales.';
CREATE TRIGGER check_sale BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.sales
	FOR EACH ROW EXECUTE FUNCTION customer_groups.check_sale();
CREATE TRIGGER book_inserted AFTER INSERT ON customer_groups.sales
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.book_sales();
CREATE TRIGGER book_updated AFTER UPDATE ON customer_groups.sales
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.book_sales();
CREATE TRIGGER book_deleted AFTER DELETE ON customer_groups.sales
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.book_sales();

CREATE FUNCTION customer_groups.customers_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_customers_changed' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.customers_changed() IS 'Trigger: keeps customer_facts in step with the customers'' records.';
CREATE TRIGGER customers_inserted AFTER INSERT ON customer_groups.customers
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.customers_changed();
CREATE TRIGGER customers_updated AFTER UPDATE ON customer_groups.customers
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.customers_changed();
CREATE FUNCTION customer_groups.customers_deleted() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_customers_deleted' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.customers_deleted() IS 'Trigger: what is stored of a customer in tracked segments goes with it.';
CREATE TRIGGER customers_deleted AFTER DELETE ON customer_groups.customers
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.customers_deleted();

CREATE FUNCTION customer_groups.check_currency() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_check_currency' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.check_currency() IS 'Trigger: refuses another currency once there are sales in it (55000).';
CREATE TRIGGER check_currency_inserted AFTER INSERT ON customer_groups.settings
	FOR EACH ROW WHEN (NEW.recorded_at = now()) EXECUTE FUNCTION customer_groups.check_currency();
CREATE TRIGGER check_currency AFTER UPDATE OR DELETE ON customer_groups.settings
	FOR EACH ROW EXECUTE FUNCTION customer_groups.check_currency();
CREATE TRIGGER check_currency AFTER UPDATE ON customer_groups.stores
	FOR EACH ROW WHEN (OLD.currency <> NEW.currency) EXECUTE FUNCTION customer_groups.check_currency();

CREATE FUNCTION customer_groups.refuse_key_change() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RAISE EXCEPTION 'the customer of a row in "%" cannot be changed', TG_TABLE_NAME
		USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('It is customer %s.', to_jsonb(OLD) ->> TG_ARGV[0]),
			HINT = 'Delete the row and insert it for the other customer.';
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_key_change() IS 'Trigger (column): refuses to move a row to another customer (55000).';
CREATE TRIGGER refuse_key_change BEFORE UPDATE ON customer_groups.customers
	FOR EACH ROW WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION customer_groups.refuse_key_change('id');
CREATE TRIGGER refuse_key_change BEFORE UPDATE ON customer_groups.sales
	FOR EACH ROW WHEN (OLD.customer_id <> NEW.customer_id)
	EXECUTE FUNCTION customer_groups.refuse_key_change('customer_id');
CREATE TRIGGER refuse_key_change BEFORE UPDATE ON customer_groups.members
	FOR EACH ROW WHEN (OLD.customer_id <> NEW.customer_id)
	EXECUTE FUNCTION customer_groups.refuse_key_change('customer_id');

CREATE FUNCTION customer_groups.refuse_truncate() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RAISE EXCEPTION 'table "%" cannot be truncated', TG_TABLE_NAME
		USING ERRCODE = 'feature_not_supported',
			DETAIL = format('What follows from the rows of "%s" would be left behind.', TG_TABLE_NAME),
			HINT = 'Use DELETE.';
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_truncate() IS 'Trigger: refuses TRUNCATE (0A000).';
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON customer_groups.settings
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON customer_groups.customers
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON customer_groups.sales
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON customer_groups.members
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON customer_groups.customer_facts
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_truncate();

CREATE FUNCTION customer_groups.delete_before_truncate() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	EXECUTE format('DELETE FROM customer_groups.%I', TG_TABLE_NAME);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.delete_before_truncate() IS 'Trigger: what is said and logged of a DELETE is so of a TRUNCATE.';

CREATE FUNCTION customer_groups.lock_customers(customer_ids bigint[]) RETURNS void
	AS 'MODULE_PATHNAME', 'cg_lock_customers' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION customer_groups.lock_customers(bigint[]) IS
	'Locks customers to the end of the transaction, in the order of their ids, as every booking and change of memberships does; unknown ones and nulls are passed over, a null array does nothing.';

CREATE FUNCTION customer_groups.rebuild_facts(customer_ids bigint[] DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	repaired bigint;
	ids bigint[];
BEGIN
	-- Bookings of these customers wait; what is in progress is waited for.
	LOCK TABLE customer_groups.segment_tracking IN ROW SHARE MODE;
	INSERT INTO customer_groups.customer_facts (customer_id, registered_at, birth_date, skip_auto_upgrade)
	SELECT c.id, c.registered_at, c.birth_date, c.skip_auto_upgrade
	FROM customer_groups.customers c
	WHERE (customer_ids IS NULL OR c.id = ANY (customer_ids))
	ORDER BY c.id
	ON CONFLICT (customer_id) DO NOTHING;

	PERFORM FROM customer_groups.customer_facts f
	WHERE customer_ids IS NULL OR f.customer_id = ANY (customer_ids)
	ORDER BY f.customer_id
	FOR UPDATE;

	UPDATE customer_groups.customer_facts f
	SET (visits, net_sales, refunds, prepaid_purchases, pass_purchases, no_shows,
		 first_visit_at, last_visit_at, registered_at, birth_date, skip_auto_upgrade)
		= (r.visits, r.net_sales, r.refunds, r.prepaid_purchases, r.pass_purchases, r.no_shows,
		   r.first_visit_at, r.last_visit_at, r.registered_at, r.birth_date, r.skip_auto_upgrade)
	FROM customer_groups.recomputed_facts r
	WHERE r.customer_id = f.customer_id
		AND (customer_ids IS NULL OR f.customer_id = ANY (customer_ids))
		AND (f.visits, f.net_sales, f.refunds, f.prepaid_purchases, f.pass_purchases, f.no_shows,
			 f.first_visit_at, f.last_visit_at, f.registered_at, f.birth_date, f.skip_auto_upgrade)
		IS DISTINCT FROM
			(r.visits, r.net_sales, r.refunds, r.prepaid_purchases, r.pass_purchases, r.no_shows,
			 r.first_visit_at, r.last_visit_at, r.registered_at, r.birth_date, r.skip_auto_upgrade);
	GET DIAGNOSTICS repaired = ROW_COUNT;
	ids := ARRAY(
		SELECT f.customer_id FROM customer_groups.customer_facts f
		WHERE rebuild_facts.customer_ids IS NULL OR f.customer_id = ANY (rebuild_facts.customer_ids)
		ORDER BY f.customer_id);
	FOR done IN 0 .. cardinality(ids) - 1 BY 10000 LOOP
		PERFORM customer_groups.report_progress('rebuild_facts', done, cardinality(ids));
		PERFORM customer_groups.track_customers(ids[done + 1 : done + 10000]);
	END LOOP;
	PERFORM customer_groups.report_progress('rebuild_facts', cardinality(ids), cardinality(ids));
	RETURN repaired;
END
$$;
COMMENT ON FUNCTION customer_groups.rebuild_facts(bigint[]) IS
	'Recomputes the facts of the given customers, of all with null, and returns how many rows were wrong; judges the customers anew by the tracked segments. Locks their facts rows in customer order; needs the owner''s rights on customer_facts. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE VIEW customer_groups.recomputed_facts WITH (security_invoker) AS
	SELECT c.id AS customer_id,
		count(*) FILTER (WHERE s.kind = 'product') AS visits,
		coalesce(sum(s.amount * coalesce(s.rate, 1)), 0) AS net_sales,
		count(*) FILTER (WHERE s.kind = 'refund') AS refunds,
		count(*) FILTER (WHERE s.kind = 'prepaid') AS prepaid_purchases,
		count(*) FILTER (WHERE s.kind = 'pass') AS pass_purchases,
		count(*) FILTER (WHERE s.kind = 'no_show') AS no_shows,
		min(s.sold_at) FILTER (WHERE s.kind = 'product') AS first_visit_at,
		max(s.sold_at) FILTER (WHERE s.kind = 'product') AS last_visit_at,
		c.registered_at, c.birth_date, c.skip_auto_upgrade
	FROM customer_groups.customers c
	LEFT JOIN customer_groups.sales s ON s.customer_id = c.id
	GROUP BY c.id;
COMMENT ON VIEW customer_groups.recomputed_facts IS 'What customer_facts must hold, computed from the sales and customers each time it is read.';
COMMENT ON COLUMN customer_groups.recomputed_facts.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.recomputed_facts.visits IS 'Sales of kind product.';
COMMENT ON COLUMN customer_groups.recomputed_facts.net_sales IS 'Sum of amount × rate over all sales, in the settings'' currency.';
COMMENT ON COLUMN customer_groups.recomputed_facts.refunds IS 'Sales of kind refund.';
COMMENT ON COLUMN customer_groups.recomputed_facts.prepaid_purchases IS 'Sales of kind prepaid.';
COMMENT ON COLUMN customer_groups.recomputed_facts.pass_purchases IS 'Sales of kind pass.';
COMMENT ON COLUMN customer_groups.recomputed_facts.no_shows IS 'Sales of kind no_show.';
COMMENT ON COLUMN customer_groups.recomputed_facts.first_visit_at IS 'Earliest sold_at of a visit; null without one.';
COMMENT ON COLUMN customer_groups.recomputed_facts.last_visit_at IS 'Latest sold_at of a visit; null without one.';
COMMENT ON COLUMN customer_groups.recomputed_facts.registered_at IS 'As in customers.';
COMMENT ON COLUMN customer_groups.recomputed_facts.birth_date IS 'As in customers.';
COMMENT ON COLUMN customer_groups.recomputed_facts.skip_auto_upgrade IS 'As in customers.';
-- The type segment_rule: which customers a segment is for.

CREATE TYPE customer_groups.segment_rule;

CREATE FUNCTION customer_groups.segment_rule_in(cstring) RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_out(customer_groups.segment_rule) RETURNS cstring
	AS 'MODULE_PATHNAME', 'cg_segment_rule_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_recv(internal) RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_send(customer_groups.segment_rule) RETURNS bytea
	AS 'MODULE_PATHNAME', 'cg_segment_rule_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.segment_rule_in(cstring) IS 'I/O: errors are 22P02 with the character position of the mistake, and 54000 for a rule with more than 65536 characters, 1000 conditions or 100 levels.';
COMMENT ON FUNCTION customer_groups.segment_rule_out(customer_groups.segment_rule) IS 'I/O: the canonical text, which reads back as an equal rule.';
COMMENT ON FUNCTION customer_groups.segment_rule_recv(internal) IS 'I/O: a version byte, 1, and the text. Another version is 22P03.';
COMMENT ON FUNCTION customer_groups.segment_rule_send(customer_groups.segment_rule) IS 'I/O: a version byte, 1, and the canonical text.';

CREATE TYPE customer_groups.segment_rule (
	INPUT = customer_groups.segment_rule_in,
	OUTPUT = customer_groups.segment_rule_out,
	RECEIVE = customer_groups.segment_rule_recv,
	SEND = customer_groups.segment_rule_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE customer_groups.segment_rule IS 'A rule that customers fulfil or not, like: visits >= 10 AND registered WITHIN 30 DAYS. It holds codes, and reads no table. Number literals compare by value and quoted ones as text; true and false are those of JSON.';

-- Equality is that of the canonical form: 10 is 10.0, but a AND b is not b AND a.

CREATE FUNCTION customer_groups.segment_rule_eq(customer_groups.segment_rule, customer_groups.segment_rule) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_segment_rule_eq' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_ne(customer_groups.segment_rule, customer_groups.segment_rule) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_segment_rule_ne' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_hash(customer_groups.segment_rule) RETURNS int
	AS 'MODULE_PATHNAME', 'cg_segment_rule_hash' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_hash_extended(customer_groups.segment_rule, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_segment_rule_hash_extended' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.segment_rule_eq(customer_groups.segment_rule, customer_groups.segment_rule) IS 'Implementation of = operator.';
COMMENT ON FUNCTION customer_groups.segment_rule_ne(customer_groups.segment_rule, customer_groups.segment_rule) IS 'Implementation of <> operator.';
COMMENT ON FUNCTION customer_groups.segment_rule_hash(customer_groups.segment_rule) IS 'Hash, for the operator class.';
COMMENT ON FUNCTION customer_groups.segment_rule_hash_extended(customer_groups.segment_rule, bigint) IS 'Hash with a seed, for the operator class.';

CREATE OPERATOR customer_groups.= (
	LEFTARG = customer_groups.segment_rule,
	RIGHTARG = customer_groups.segment_rule,
	FUNCTION = customer_groups.segment_rule_eq,
	COMMUTATOR = OPERATOR(customer_groups.=),
	NEGATOR = OPERATOR(customer_groups.<>),
	RESTRICT = pg_catalog.eqsel,
	JOIN = pg_catalog.eqjoinsel,
	HASHES
);
CREATE OPERATOR customer_groups.<> (
	LEFTARG = customer_groups.segment_rule,
	RIGHTARG = customer_groups.segment_rule,
	FUNCTION = customer_groups.segment_rule_ne,
	COMMUTATOR = OPERATOR(customer_groups.<>),
	NEGATOR = OPERATOR(customer_groups.=),
	RESTRICT = pg_catalog.neqsel,
	JOIN = pg_catalog.neqjoinsel
);
COMMENT ON OPERATOR customer_groups.= (customer_groups.segment_rule, customer_groups.segment_rule) IS 'Same canonical form.';
COMMENT ON OPERATOR customer_groups.<> (customer_groups.segment_rule, customer_groups.segment_rule) IS 'Another canonical form.';

CREATE OPERATOR CLASS customer_groups.segment_rule_ops
	DEFAULT FOR TYPE customer_groups.segment_rule USING hash AS
	OPERATOR 1 customer_groups.= (customer_groups.segment_rule, customer_groups.segment_rule),
	FUNCTION 1 customer_groups.segment_rule_hash(customer_groups.segment_rule),
	FUNCTION 2 customer_groups.segment_rule_hash_extended(customer_groups.segment_rule, bigint);
COMMENT ON OPERATOR CLASS customer_groups.segment_rule_ops USING hash IS 'Equality of rules: for GROUP BY, DISTINCT and joins; rules have no order.';

CREATE FUNCTION customer_groups.segment_rule_from_jsonb(jsonb) RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_from_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
CREATE FUNCTION customer_groups.segment_rule_to_jsonb(customer_groups.segment_rule) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'cg_segment_rule_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION customer_groups.segment_rule_from_jsonb(jsonb) IS 'Cast from the tree that segment_rule_to_jsonb() gives. Another shape, an unknown key, a wrong type are 22023, with the path ($.and[0].not) and the object in the detail.';
COMMENT ON FUNCTION customer_groups.segment_rule_to_jsonb(customer_groups.segment_rule) IS
'Cast to a tree, for rule builders. Nodes:
{"and": [node, ...]}, {"or": [node, ...]}, {"not": node}, {"all": true},
{"metric": "visits", "op": ">=", "value": 10} with "last_days": 90 for a window,
{"date": "last_visit", "op": "<", "value": "2026-01-01"}, {"days_since": "last_visit", "op": ">=", "value": 180},
{"within": "registered", "days": 30}, {"birthday": "today"}, {"birthday": "this_month"},
{"birthday": "month", "month": 5}, {"birthday": "next", "days": 7},
{"bought": "category", "code": "shoes", "op": ">=", "value": 2} (or "item", "brand") with "last_days": 365 for a window,
{"attribute": "city", "op": "=", "value": "Seoul"} (a number compares by value, a string as text, true and false as such),
{"member_of": "wholesale"}, {"tier_of": "default", "op": "=", "value": "gold"}, {"segment": "vip"}.
"op" is =, <>, <, <=, >, >=, "between" with "value": [low, high] or "in" with "value": [one, ...]; strings that are not dates, true and false take =, <> and "in" only.';

CREATE CAST (jsonb AS customer_groups.segment_rule)
	WITH FUNCTION customer_groups.segment_rule_from_jsonb(jsonb);
CREATE CAST (customer_groups.segment_rule AS jsonb)
	WITH FUNCTION customer_groups.segment_rule_to_jsonb(customer_groups.segment_rule);
COMMENT ON CAST (jsonb AS customer_groups.segment_rule) IS 'The rule of a tree: see segment_rule_to_jsonb(segment_rule).';
COMMENT ON CAST (customer_groups.segment_rule AS jsonb) IS 'The tree of a rule: see segment_rule_to_jsonb(segment_rule).';

CREATE FUNCTION customer_groups.rule_names(rule customer_groups.segment_rule)
	RETURNS TABLE(kind text, code text)
	AS 'MODULE_PATHNAME', 'cg_segment_rule_names' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 5;
COMMENT ON FUNCTION customer_groups.rule_names(customer_groups.segment_rule) IS 'The codes that a rule names, each once, whether they exist or not. kind: brand, category, group, item (its external_id), ladder, segment, or tier (a group''s code, compared with a customer''s tier). No row for a null rule.';

CREATE FUNCTION customer_groups.rule_rename(rule customer_groups.segment_rule, kind text, old_code text, new_code text)
	RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_rename' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION customer_groups.rule_rename(customer_groups.segment_rule, text, text, text) IS 'The rule with new_code wherever it names old_code as that kind: one of rule_names(), others are 22023. A group that is a tier is named by both kinds. Null if an argument is.';
-- Segments: customers who fulfil a rule.

CREATE TABLE customer_groups.segments (
	id int GENERATED BY DEFAULT AS IDENTITY,
	code text NOT NULL,
	name text NOT NULL,
	color text NOT NULL DEFAULT '#808080',
	position int NOT NULL DEFAULT 0,
	show_label boolean NOT NULL DEFAULT true,
	rule customer_groups.segment_rule NOT NULL,
	tracked boolean NOT NULL DEFAULT false,
	pending_since timestamptz,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT segments_pkey PRIMARY KEY (id),
	CONSTRAINT segments_code_key UNIQUE (code),
	CONSTRAINT segments_code_check CHECK (code = btrim(code) AND code <> ''),
	CONSTRAINT segments_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT segments_color_check CHECK (color ~ '^#[0-9a-fA-F]{6}$'),
	CONSTRAINT segments_pending_since_check CHECK (pending_since IS NULL OR (tracked AND isfinite(pending_since))),
	CONSTRAINT segments_recorded_at_check CHECK (isfinite(recorded_at))
);
CREATE TRIGGER set_default_code BEFORE INSERT ON customer_groups.segments
	FOR EACH ROW WHEN (NEW.code IS NULL) EXECUTE FUNCTION customer_groups.set_default_code();
COMMENT ON TABLE customer_groups.segments IS 'Segments of customers, each defined by a rule.';
COMMENT ON COLUMN customer_groups.segments.id IS 'Key.';
COMMENT ON COLUMN customer_groups.segments.code IS 'The shop''s own key; the id when left out.';
COMMENT ON COLUMN customer_groups.segments.name IS 'Name, not blank.';
COMMENT ON COLUMN customer_groups.segments.color IS 'Color of the label: #rrggbb.';
COMMENT ON COLUMN customer_groups.segments.position IS 'Place of the label among the others, ascending.';
COMMENT ON COLUMN customer_groups.segments.show_label IS 'Whether it shows as a label beside a customer''s name.';
COMMENT ON COLUMN customer_groups.segments.rule IS 'Who is in it.';
COMMENT ON COLUMN customer_groups.segments.tracked IS 'Whether its members are stored in segment_members, with an event for each who enters or leaves.';
COMMENT ON COLUMN customer_groups.segments.pending_since IS 'Since when the stored members do not all follow from the rule; null when they do. Set by the engine, cleared by fill_segments().';
COMMENT ON COLUMN customer_groups.segments.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, whose rule is not checked.';

-- Without foreign keys: each entry would lock the row of its segment, which all sales share.
CREATE TABLE customer_groups.segment_members (
	segment_id int,
	customer_id bigint,
	entered_at timestamptz NOT NULL,
	CONSTRAINT segment_members_pkey PRIMARY KEY (customer_id, segment_id),
	CONSTRAINT segment_members_entered_at_check CHECK (isfinite(entered_at))
);
CREATE INDEX segment_members_segment_id_idx ON customer_groups.segment_members (segment_id, customer_id);
COMMENT ON TABLE customer_groups.segment_members IS 'Who is in which tracked segment; kept by the engine.';
COMMENT ON COLUMN customer_groups.segment_members.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_members.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.segment_members.entered_at IS 'Since when: the moment of the change, or the start of the day that brought it; for who was in already when the segment was filled in, that time.';

CREATE TABLE customer_groups.segment_tracking (
	id int DEFAULT 1,
	reached_on date NOT NULL,
	CONSTRAINT segment_tracking_pkey PRIMARY KEY (id),
	CONSTRAINT segment_tracking_id_check CHECK (id = 1),
	CONSTRAINT segment_tracking_reached_on_check CHECK (isfinite(reached_on))
);
COMMENT ON TABLE customer_groups.segment_tracking IS 'How far advance_segments() has come: at most one row.';
COMMENT ON COLUMN customer_groups.segment_tracking.id IS 'Always 1: keeps the table to one row.';
COMMENT ON COLUMN customer_groups.segment_tracking.reached_on IS 'The day, in the settings'' time zone, up to which all customers have been judged.';
-- Promotions: what they give, what they cover and whom they are for.

CREATE TABLE customer_groups.promotions (
	id int GENERATED BY DEFAULT AS IDENTITY,
	code text NOT NULL,
	name text NOT NULL,
	kind text NOT NULL,
	value numeric NOT NULL,
	level text NOT NULL DEFAULT 'item',
	starts_at timestamptz,
	ends_at timestamptz,
	groups_only boolean NOT NULL DEFAULT false,
	combinable boolean NOT NULL DEFAULT false,
	stage int NOT NULL DEFAULT 0,
	priority int NOT NULL DEFAULT 0,
	min_quantity numeric,
	min_order_value numeric,
	max_discount numeric,
	currency text,
	active boolean NOT NULL DEFAULT true,
	CONSTRAINT promotions_pkey PRIMARY KEY (id),
	CONSTRAINT promotions_code_key UNIQUE (code),
	CONSTRAINT promotions_code_check CHECK (code = btrim(code) AND code <> ''),
	CONSTRAINT promotions_name_check CHECK (name ~ '[^[:space:]]'),
	CONSTRAINT promotions_kind_check CHECK (kind IN ('percent', 'amount', 'fixed_price')),
	CONSTRAINT promotions_value_check CHECK (customer_groups.is_money(value) AND (kind <> 'percent' OR value <= 100)),
	CONSTRAINT promotions_level_check CHECK (level IN ('item', 'order') AND (level = 'item' OR kind <> 'fixed_price')),
	CONSTRAINT promotions_starts_at_check CHECK (isfinite(starts_at)),
	CONSTRAINT promotions_ends_at_check CHECK (isfinite(ends_at) AND (starts_at IS NULL OR starts_at < ends_at)),
	CONSTRAINT promotions_min_quantity_check CHECK (customer_groups.is_money(min_quantity) AND min_quantity > 0),
	CONSTRAINT promotions_min_order_value_check CHECK (customer_groups.is_money(min_order_value)),
	CONSTRAINT promotions_max_discount_check CHECK (customer_groups.is_money(max_discount)),
	CONSTRAINT promotions_currency_check CHECK (currency IS NULL OR customer_groups.currency_digits(currency) IS NOT NULL)
);
COMMENT ON TABLE customer_groups.promotions IS 'Promotions. One attached to nothing covers the whole assortment and is open to all.';
COMMENT ON COLUMN customer_groups.promotions.id IS 'Key.';
COMMENT ON COLUMN customer_groups.promotions.code IS 'The shop''s own key; the id when left out.';
COMMENT ON COLUMN customer_groups.promotions.name IS 'Name, not blank.';
COMMENT ON COLUMN customer_groups.promotions.kind IS 'percent (off), amount (off) or fixed_price.';
COMMENT ON COLUMN customer_groups.promotions.value IS 'Per cent from 0 to 100, or money in the promotion''s currency.';
COMMENT ON COLUMN customer_groups.promotions.level IS 'item: off the unit price; order: off the order''s total.';
COMMENT ON COLUMN customer_groups.promotions.starts_at IS 'First moment; null: no start.';
COMMENT ON COLUMN customer_groups.promotions.ends_at IS 'The moment it is over; null: no end.';
COMMENT ON COLUMN customer_groups.promotions.groups_only IS 'Open only to the groups and segments it is attached to. Once true it stays so.';
COMMENT ON COLUMN customer_groups.promotions.combinable IS 'Whether it applies together with the other combinable ones of its stage.';
COMMENT ON COLUMN customer_groups.promotions.stage IS 'Stages follow each other in ascending order, each on the price left by the one before.';
COMMENT ON COLUMN customer_groups.promotions.priority IS 'Order within the combinable ones of a stage, ascending; decides between equal prices.';
COMMENT ON COLUMN customer_groups.promotions.min_quantity IS 'Least quantity, inclusive; null: any.';
COMMENT ON COLUMN customer_groups.promotions.min_order_value IS 'Least order value, inclusive; null: any.';
COMMENT ON COLUMN customer_groups.promotions.max_discount IS 'Most it takes off one unit (item) or the order (order); null: no limit.';
COMMENT ON COLUMN customer_groups.promotions.currency IS 'ISO 4217 code of its amounts; null: the settings''.';
COMMENT ON COLUMN customer_groups.promotions.active IS 'Whether it is in use at all.';
CREATE TRIGGER set_default_code BEFORE INSERT ON customer_groups.promotions
	FOR EACH ROW WHEN (NEW.code IS NULL) EXECUTE FUNCTION customer_groups.set_default_code();

CREATE FUNCTION customer_groups.check_groups_only() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF OLD.groups_only THEN
		RAISE EXCEPTION 'promotion "%" cannot be opened to everybody', OLD.code
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'It is for groups only, which is never taken back.',
				HINT = 'Make a new promotion with the same terms.';
	END IF;
	RAISE NOTICE 'promotion "%" is now for its groups and segments only, for good', NEW.code;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION customer_groups.check_groups_only() IS 'Trigger: groups_only is never taken back (55000).';
CREATE TRIGGER check_groups_only BEFORE UPDATE ON customer_groups.promotions
	FOR EACH ROW WHEN (OLD.groups_only <> NEW.groups_only)
	EXECUTE FUNCTION customer_groups.check_groups_only();

CREATE TABLE customer_groups.promotion_items (
	promotion_id int,
	item_id bigint,
	CONSTRAINT promotion_items_pkey PRIMARY KEY (promotion_id, item_id),
	CONSTRAINT promotion_items_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions ON DELETE CASCADE,
	CONSTRAINT promotion_items_item_id_fkey FOREIGN KEY (item_id) REFERENCES customer_groups.items
);
CREATE INDEX promotion_items_item_id_idx ON customer_groups.promotion_items (item_id);
COMMENT ON TABLE customer_groups.promotion_items IS 'Items that a promotion covers.';
COMMENT ON COLUMN customer_groups.promotion_items.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_items.item_id IS 'Item.';

CREATE TABLE customer_groups.promotion_categories (
	promotion_id int,
	category_id int,
	CONSTRAINT promotion_categories_pkey PRIMARY KEY (promotion_id, category_id),
	CONSTRAINT promotion_categories_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions ON DELETE CASCADE,
	CONSTRAINT promotion_categories_category_id_fkey FOREIGN KEY (category_id) REFERENCES customer_groups.categories
);
CREATE INDEX promotion_categories_category_id_idx ON customer_groups.promotion_categories (category_id);
COMMENT ON TABLE customer_groups.promotion_categories IS 'Categories that a promotion covers, each with all below it.';
COMMENT ON COLUMN customer_groups.promotion_categories.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_categories.category_id IS 'Category.';

CREATE TABLE customer_groups.promotion_brands (
	promotion_id int,
	brand_id int,
	CONSTRAINT promotion_brands_pkey PRIMARY KEY (promotion_id, brand_id),
	CONSTRAINT promotion_brands_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions ON DELETE CASCADE,
	CONSTRAINT promotion_brands_brand_id_fkey FOREIGN KEY (brand_id) REFERENCES customer_groups.brands
);
CREATE INDEX promotion_brands_brand_id_idx ON customer_groups.promotion_brands (brand_id);
COMMENT ON TABLE customer_groups.promotion_brands IS 'Brands that a promotion covers.';
COMMENT ON COLUMN customer_groups.promotion_brands.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_brands.brand_id IS 'Brand.';

CREATE TABLE customer_groups.promotion_stores (
	promotion_id int,
	store_id int,
	CONSTRAINT promotion_stores_pkey PRIMARY KEY (promotion_id, store_id),
	CONSTRAINT promotion_stores_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions ON DELETE CASCADE,
	CONSTRAINT promotion_stores_store_id_fkey FOREIGN KEY (store_id) REFERENCES customer_groups.stores
);
CREATE INDEX promotion_stores_store_id_idx ON customer_groups.promotion_stores (store_id);
COMMENT ON TABLE customer_groups.promotion_stores IS 'Stores that a promotion is for; no row: every store.';
COMMENT ON COLUMN customer_groups.promotion_stores.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_stores.store_id IS 'Store.';

CREATE TABLE customer_groups.promotion_groups (
	promotion_id int,
	group_id int,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT promotion_groups_pkey PRIMARY KEY (promotion_id, group_id),
	CONSTRAINT promotion_groups_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions ON DELETE CASCADE,
	CONSTRAINT promotion_groups_group_id_fkey FOREIGN KEY (group_id) REFERENCES customer_groups.groups ON DELETE CASCADE
);
CREATE INDEX promotion_groups_group_id_idx ON customer_groups.promotion_groups (group_id);
COMMENT ON TABLE customer_groups.promotion_groups IS 'Groups that a promotion is for.';
COMMENT ON COLUMN customer_groups.promotion_groups.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_groups.group_id IS 'Group.';
COMMENT ON COLUMN customer_groups.promotion_groups.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

CREATE TABLE customer_groups.promotion_segments (
	promotion_id int,
	segment_id int,
	CONSTRAINT promotion_segments_pkey PRIMARY KEY (promotion_id, segment_id),
	CONSTRAINT promotion_segments_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions ON DELETE CASCADE,
	CONSTRAINT promotion_segments_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES customer_groups.segments
);
CREATE INDEX promotion_segments_segment_id_idx ON customer_groups.promotion_segments (segment_id);
COMMENT ON TABLE customer_groups.promotion_segments IS 'Segments that a promotion is for.';
COMMENT ON COLUMN customer_groups.promotion_segments.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_segments.segment_id IS 'Segment.';
-- Stamps: how a backend knows whether its cache is what its snapshot would read.

CREATE TABLE customer_groups.cache_stamps (
	stamp bigint,
	kind "char" NOT NULL,
	key bigint,
	folded bigint[],
	CONSTRAINT cache_stamps_pkey PRIMARY KEY (stamp)
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE customer_groups.cache_stamps IS 'What changed in the tables that backends cache, one row an edit; old rows are folded into one. Not dumped.';
COMMENT ON COLUMN customer_groups.cache_stamps.stamp IS 'A fresh number of cache_stamps_stamp_seq.';
COMMENT ON COLUMN customer_groups.cache_stamps.kind IS 'What the key names: see src/promotions/promotions.h.';
COMMENT ON COLUMN customer_groups.cache_stamps.key IS 'Id of what changed; null: any of the kind.';
COMMENT ON COLUMN customer_groups.cache_stamps.folded IS 'Stamps that this row replaced.';
CREATE SEQUENCE customer_groups.cache_stamps_stamp_seq OWNED BY customer_groups.cache_stamps.stamp;
COMMENT ON SEQUENCE customer_groups.cache_stamps_stamp_seq IS 'Numbers of the stamps.';

CREATE FUNCTION customer_groups.discard_stamp() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.discard_stamp() IS 'Trigger: drops the stamps that logical replication brings; a subscriber leaves its own.';
CREATE TRIGGER discard_stamp BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.cache_stamps
	FOR EACH ROW EXECUTE FUNCTION customer_groups.discard_stamp();
ALTER TABLE customer_groups.cache_stamps ENABLE REPLICA TRIGGER discard_stamp;

CREATE FUNCTION customer_groups.refuse_stamp() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RAISE EXCEPTION 'stamps are not written by hand'
		USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('%s on "%s" was refused: caches would take it for an edit, or miss one.', TG_OP, TG_TABLE_NAME),
			HINT = 'Leave the table alone; it is folded by itself.';
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_stamp() IS 'Trigger: refuses to write stamps by SQL (55000).';
CREATE TRIGGER refuse_stamp BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON customer_groups.cache_stamps
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_stamp();

CREATE FUNCTION customer_groups.leave_stamp() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_leave_stamp' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.leave_stamp() IS 'Trigger (kind, key column): leaves a stamp for what the row is part of.';

-- Each table that a cache is built from, with the kind and the column of its key.
-- The trigger comes last by its name: others may still change the key.
DO $$
DECLARE
	source record;
BEGIN
	FOR source IN
		SELECT * FROM (VALUES
			('settings', 'settings', NULL),
			('stores', 'store', 'id'),
			('ladders', 'ladder', NULL),
			('groups', 'group', 'id'),
			('group_store_pricing', 'group', 'group_id'),
			('categories', 'category', 'id'),
			('brands', 'brand', 'id'),
			('segments', 'segment', 'id'),
			('promotions', 'promotion', 'id'),
			('promotion_items', 'promotion', 'promotion_id'),
			('promotion_categories', 'promotion', 'promotion_id'),
			('promotion_brands', 'promotion', 'promotion_id'),
			('promotion_stores', 'promotion', 'promotion_id'),
			('promotion_groups', 'promotion', 'promotion_id'),
			('promotion_segments', 'promotion', 'promotion_id')
		) AS s (name, kind, key)
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER zz_leave_stamp BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.%1$I
				FOR EACH ROW EXECUTE FUNCTION customer_groups.leave_stamp(%2$s);
			CREATE TRIGGER zz_leave_stamp_truncate BEFORE TRUNCATE ON customer_groups.%1$I
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.leave_stamp(%3$L);
			ALTER TABLE customer_groups.%1$I ENABLE ALWAYS TRIGGER zz_leave_stamp;
			ALTER TABLE customer_groups.%1$I ENABLE ALWAYS TRIGGER zz_leave_stamp_truncate',
			source.name, pg_catalog.concat_ws(', ', pg_catalog.quote_literal(source.kind), pg_catalog.quote_literal(source.key)),
			source.kind);
	END LOOP;
END
$$;
-- Which segments a customer is in.

CREATE FUNCTION customer_groups.segments_of(customer_id bigint, at timestamptz DEFAULT now())
	RETURNS TABLE (code text, name text, color text)
	AS 'MODULE_PATHNAME', 'cg_segments_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 100 ROWS 3;
COMMENT ON FUNCTION customer_groups.segments_of(bigint, timestamptz) IS
	'The labels beside a customer''s name: the segments with show_label that the customer is in, by position, then code. at moves today, in the settings'' time zone; the facts are the present ones. A null customer is an anonymous one: no row. An unknown customer is 02000, a null time 22004, an infinite one 22023, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.segments_of_by_key(customer_external_id text, at timestamptz DEFAULT now())
	RETURNS TABLE (code text, name text, color text)
	AS 'MODULE_PATHNAME', 'cg_segments_of_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 120 ROWS 3;
COMMENT ON FUNCTION customer_groups.segments_of_by_key(text, timestamptz) IS
	'segments_of a customer by its external_id: null is an anonymous one, an unknown one is 02000.';

CREATE FUNCTION customer_groups.labels_of(customer_ids bigint[], at timestamptz DEFAULT now())
	RETURNS TABLE (customer_id bigint, labels jsonb)
	AS 'MODULE_PATHNAME', 'cg_labels_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION customer_groups.labels_of(bigint[], timestamptz) IS
	'The labels of a list of customers, one row for each in the order given: an array of {"code", "name", "color"} in the order of segments_of(), [] when none. A null customer has none; a null list gives no row. Errors as segments_of().';

CREATE FUNCTION customer_groups.in_segment(customer_id bigint, code text, at timestamptz DEFAULT now())
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_in_segment'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.in_segment(bigint, text, timestamptz) IS
	'Whether the customer is in the segment, with or without a label. A null customer is an anonymous one, in no segment: false; a null code gives null. An unknown segment is 02000; other errors as segments_of().';

CREATE FUNCTION customer_groups.matches(customer_id bigint, rule customer_groups.segment_rule, at timestamptz DEFAULT now())
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_matches'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.matches(bigint, customer_groups.segment_rule, timestamptz) IS
	'Whether the customer fulfils the rule. Conditions on a missing value are false, <> too, and NOT of them true: no visit, no birth date, no present tier (one out of its dates, or a membership not valid today, is none), an attribute that is not there or of another type than what it is compared with: a number, a quoted text, or true or false. A null customer fulfils nothing: false; a null rule gives null. A name that does not exist is 42704; other errors as segments_of().';
-- The customers of a segment: all of them, how many, and what a rule would change.

CREATE FUNCTION customer_groups.segment_sql(code text, at timestamptz DEFAULT now()) RETURNS text
	AS 'MODULE_PATHNAME', 'cg_segment_sql'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION customer_groups.segment_sql(text, timestamptz) IS
	'The query that gives the customer_id of everybody in the segment: its rule compiled to SQL, with the days and ids as they are at the time of the call. Null for a null code. Errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_customers(code text, at timestamptz DEFAULT now()) RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'cg_segment_customers'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100000;
COMMENT ON FUNCTION customer_groups.segment_customers(text, timestamptz) IS
	'The customers in the segment, in no order; no row for a null code. at moves today, in the settings'' time zone; the facts are the present ones. An unknown segment is 02000, a null time 22004, an infinite one 22023, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.rule_customers(rule customer_groups.segment_rule, at timestamptz DEFAULT now()) RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'cg_rule_customers'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100000;
COMMENT ON FUNCTION customer_groups.rule_customers(customer_groups.segment_rule, timestamptz) IS
	'The customers who fulfil the rule, in no order: those of whom matches() is true; no row for a null rule. A name that does not exist is 42704; other errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_size(code text, at timestamptz DEFAULT now()) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_segment_size'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000;
COMMENT ON FUNCTION customer_groups.segment_size(text, timestamptz) IS
	'How many customers are in the segment; null for a null code. Errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_sizes(at timestamptz DEFAULT now())
	RETURNS TABLE (code text, name text, color text, size bigint)
	AS 'MODULE_PATHNAME', 'cg_segment_sizes'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 20;
COMMENT ON FUNCTION customer_groups.segment_sizes(timestamptz) IS
	'How many customers are in each segment, by position, then code; all of them (a thousand at a time) are counted in one pass over the customers. Errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_overlap(code text, other_code text, at timestamptz DEFAULT now()) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_segment_overlap'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000;
COMMENT ON FUNCTION customer_groups.segment_overlap(text, text, timestamptz) IS
	'How many customers are in both segments; null for a null code. Errors as segment_customers().';

CREATE FUNCTION customer_groups.preview_segment(rule customer_groups.segment_rule, at timestamptz DEFAULT now(),
		OUT size bigint, OUT share numeric, OUT sample bigint[])
	AS 'MODULE_PATHNAME', 'cg_preview_segment'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000;
COMMENT ON FUNCTION customer_groups.preview_segment(customer_groups.segment_rule, timestamptz) IS
	'What a segment with the rule would be: how many customers, which share of all of them (from 0 to 1, rounded to 6 decimals; 0 where there is no customer), and the ten with the lowest ids, {} when none. Nulls for a null rule. A rule whose segments go round in a circle is 23514, and more than 500 levels of them 54000, as they are when it is saved; other errors as rule_customers().';

CREATE FUNCTION customer_groups.preview_change(code text, rule customer_groups.segment_rule, at timestamptz DEFAULT now())
	RETURNS TABLE (customer_id bigint, change text)
	AS 'MODULE_PATHNAME', 'cg_preview_change'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 10000;
COMMENT ON FUNCTION customer_groups.preview_change(text, customer_groups.segment_rule, timestamptz) IS
	'Who would enter or leave the segment if it had the rule: change is enters or leaves; in no order, no row for a null argument. What saving the rule would refuse is refused: names that neither exist nor are in the present rule (42704), a circle of segments (23514), more than 500 levels of them (54000); other errors as rule_customers() and segment_customers().';
-- What rules name stays in being, and no segment names itself.

CREATE FUNCTION customer_groups.lock_rules() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_lock_rules' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.lock_rules() IS
	'Trigger (kind): lets one transaction at a time change rules, or the codes that rules name.';
CREATE FUNCTION customer_groups.check_segments() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_check_segments' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.check_segments() IS
	'Trigger: refuses a rule that names what does not exist (42704), segments that go round in a circle (23514), and more than 500 levels of them (54000).';
CREATE FUNCTION customer_groups.refuse_named() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_refuse_named' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.refuse_named() IS
	'Trigger (kind): what a rule names is not deleted (2BP01).';
CREATE FUNCTION customer_groups.refuse_named_segments() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_refuse_named_segments' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.refuse_named_segments() IS
	'Trigger (kind): a segment that the rule of another one names is not deleted without it (2BP01).';
CREATE FUNCTION customer_groups.rename_in_rules() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_rename_in_rules' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.rename_in_rules() IS
	'Trigger (kind): gives what a rule names its new code in the rule, too.';

CREATE FUNCTION customer_groups.refuse_promoted_segment() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	users text;
BEGIN
	SELECT string_agg(quote_ident(p.code), ', ' ORDER BY p.code) INTO users
	FROM customer_groups.promotion_segments s
	JOIN customer_groups.promotions p ON p.id = s.promotion_id
	WHERE s.segment_id = OLD.id;
	IF users IS NOT NULL THEN
		RAISE EXCEPTION 'promotions are for segment "%"', OLD.code
			USING ERRCODE = 'dependent_objects_still_exist',
				DETAIL = format('It is attached to: %s.', users),
				HINT = 'Detach it from these promotions first.';
	END IF;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_promoted_segment() IS 'Trigger: a segment that a promotion is for is not deleted (2BP01).';

-- Each table whose rows rules name, with the kind and the column of the code.
DO $$
DECLARE
	source record;
BEGIN
	FOR source IN
		SELECT * FROM (VALUES
			('groups', 'group', 'code'),
			('ladders', 'ladder', 'code'),
			('categories', 'category', 'code'),
			('brands', 'brand', 'code'),
			('items', 'item', 'external_id'),
			('segments', 'segment', 'code')
		) AS s (name, kind, code)
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER lock_rename BEFORE UPDATE OF %3$I ON customer_groups.%1$I
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules(%2$L);
			CREATE TRIGGER lock_delete BEFORE DELETE ON customer_groups.%1$I
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules(%2$L);
			CREATE TRIGGER rename_in_rules AFTER UPDATE ON customer_groups.%1$I
				FOR EACH ROW WHEN (OLD.%3$I IS NOT NULL AND (NEW.%3$I IS NULL OR OLD.%3$I OPERATOR(pg_catalog.<>) NEW.%3$I))
				EXECUTE FUNCTION customer_groups.rename_in_rules(%2$L)',
			source.name, source.kind, source.code);
		-- Before its memberships or attachments are touched, and before foreign keys complain.
		IF source.kind OPERATOR(pg_catalog.<>) 'segment' THEN
			EXECUTE pg_catalog.format(
				'CREATE TRIGGER check_named BEFORE DELETE ON customer_groups.%1$I
					FOR EACH ROW EXECUTE FUNCTION customer_groups.refuse_named(%2$L)',
				source.name, source.kind);
		END IF;
	END LOOP;
END
$$;

CREATE TRIGGER lock_insert BEFORE INSERT ON customer_groups.segments
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules('segment');
CREATE TRIGGER lock_update BEFORE UPDATE OF rule, tracked ON customer_groups.segments
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules('segment');
CREATE TRIGGER check_inserted AFTER INSERT ON customer_groups.segments
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_segments();
CREATE TRIGGER check_updated AFTER UPDATE ON customer_groups.segments
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_segments();
CREATE TRIGGER refuse_promoted_segment BEFORE DELETE ON customer_groups.segments
	FOR EACH ROW EXECUTE FUNCTION customer_groups.refuse_promoted_segment();
CREATE TRIGGER refuse_named_segments AFTER DELETE ON customer_groups.segments
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_named_segments('segment');
-- The segments that most shops begin with.

CREATE FUNCTION customer_groups.load_default_segments(language text DEFAULT 'en', vip_sales numeric DEFAULT 1000000)
	RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	inserted int;
BEGIN
	IF language IS NULL OR vip_sales IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN language IS NULL THEN 'language' ELSE 'vip_sales' END
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave the argument out to get its default.';
	END IF;
	IF language NOT IN ('en', 'ko') THEN
		RAISE EXCEPTION 'unknown language'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('There are no names in "%s".', language),
				HINT = 'The languages are en and ko.';
	END IF;
	IF NOT customer_groups.is_money(vip_sales) THEN
		RAISE EXCEPTION 'vip_sales is out of range'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is %s.', vip_sales),
				HINT = 'Give an amount from 0 to less than 100,000,000,000,000 with at most 8 decimals.';
	END IF;

	INSERT INTO customer_groups.segments (code, name, color, position, show_label, rule)
	SELECT d.code, CASE language WHEN 'ko' THEN d.ko ELSE d.en END, d.color, d.position, d.show_label,
		d.rule::customer_groups.segment_rule
	FROM (VALUES
		(1, 'all', 'All', '전체', '#7f8c8d', false, 'ALL'),
		(2, 'members', 'Members', '회원', '#2980b9', true, 'prepaid_purchases > 0 OR pass_purchases > 0'),
		(3, 'non_members', 'Non-members', '비회원', '#95a5a6', true, 'prepaid_purchases = 0 AND pass_purchases = 0'),
		(4, 'new', 'New', '신규고객', '#27ae60', true, 'visits >= 1 AND registered WITHIN 30 DAYS'),
		(5, 'blacklist', 'Blacklist', '블랙리스트', '#2c3e50', true, 'no_shows >= 1'),
		(6, 'vip', 'VIP', 'VIP', '#f39c12', true, format('net_sales >= %s AND visits >= 10', vip_sales)),
		(7, 'dormant', 'Dormant', '휴면고객', '#8e44ad', true, 'days_since(last_visit) >= 180'),
		(8, 'win_back', 'To win back', '재방문유도대상', '#d35400', true, 'visits >= 2 OR days_since(last_visit) >= 30'),
		(9, 'birthday', 'Birthday', '생일고객', '#e84393', true, 'birthday IN THIS MONTH'),
		(10, 'first_visit', 'First visit', '첫방문고객', '#16a085', true, 'visits <= 0 AND registered WITHIN 30 DAYS')
	) AS d (position, code, en, ko, color, show_label, rule)
	ORDER BY d.position
	ON CONFLICT (code) DO NOTHING;
	GET DIAGNOSTICS inserted = ROW_COUNT;
	RETURN inserted;
END
$$;
COMMENT ON FUNCTION customer_groups.load_default_segments(text, numeric) IS
	'Inserts the segments all, members, non_members, new, blacklist, vip (net sales of at least vip_sales, in the settings'' currency, and 10 visits), dormant, win_back, birthday and first_visit, with names in English (en) or Korean (ko), and returns how many; codes that exist are left alone. An unknown language, or a vip_sales that is not from 0 to less than 100,000,000,000,000, is 22023, null 22004.';
-- The lines of a sale, and the promotions' shares in them.

CREATE TABLE customer_groups.sale_lines (
	customer_id bigint,
	sale_id bigint,
	line_no int,
	item_id bigint NOT NULL,
	quantity numeric NOT NULL,
	unit_price numeric NOT NULL,
	discount numeric NOT NULL DEFAULT 0,
	total numeric,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT sale_lines_pkey PRIMARY KEY (customer_id, sale_id, line_no),
	CONSTRAINT sale_lines_sale_id_fkey FOREIGN KEY (customer_id, sale_id) REFERENCES customer_groups.sales ON DELETE CASCADE,
	CONSTRAINT sale_lines_item_id_fkey FOREIGN KEY (item_id) REFERENCES customer_groups.items,
	CONSTRAINT sale_lines_line_no_check CHECK (line_no > 0),
	CONSTRAINT sale_lines_quantity_check CHECK (customer_groups.is_money(quantity)),
	CONSTRAINT sale_lines_unit_price_check CHECK (customer_groups.is_money(unit_price)),
	CONSTRAINT sale_lines_discount_check CHECK (customer_groups.is_money(discount)),
	CONSTRAINT sale_lines_total_check CHECK (customer_groups.is_money(total)),
	CONSTRAINT sale_lines_recorded_at_check CHECK (isfinite(recorded_at))
);
CREATE INDEX sale_lines_item_id_idx ON customer_groups.sale_lines (item_id);
COMMENT ON TABLE customer_groups.sale_lines IS 'What was sold in a sale, or given back by a refund.';
COMMENT ON COLUMN customer_groups.sale_lines.customer_id IS 'Customer; never updated.';
COMMENT ON COLUMN customer_groups.sale_lines.sale_id IS 'Sale.';
COMMENT ON COLUMN customer_groups.sale_lines.line_no IS 'Place in the sale, from 1; in a refund by record_refund() that of the line given back.';
COMMENT ON COLUMN customer_groups.sale_lines.item_id IS 'Item.';
COMMENT ON COLUMN customer_groups.sale_lines.quantity IS 'How much of it, in the item''s unit; also in a refund not negative.';
COMMENT ON COLUMN customer_groups.sale_lines.unit_price IS 'List price of one unit, in the store''s currency.';
COMMENT ON COLUMN customer_groups.sale_lines.discount IS 'Discount of the whole line, in the store''s currency; also in a refund not negative.';
COMMENT ON COLUMN customer_groups.sale_lines.total IS 'What was paid for the line, or given back for it, in the store''s currency, not negative; null: quantity × unit_price − discount, rounded half up to the minor unit.';
COMMENT ON COLUMN customer_groups.sale_lines.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

CREATE FUNCTION customer_groups.lines_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_lines_changed' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.lines_changed() IS 'Trigger: keeps tracked segments in step with what was sold.';
CREATE TRIGGER lines_inserted AFTER INSERT ON customer_groups.sale_lines
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lines_changed();
CREATE TRIGGER lines_updated AFTER UPDATE ON customer_groups.sale_lines
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lines_changed();
CREATE TRIGGER lines_deleted AFTER DELETE ON customer_groups.sale_lines
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lines_changed();

CREATE TABLE customer_groups.sale_line_promotions (
	customer_id bigint,
	sale_id bigint,
	line_no int,
	promotion_id int,
	discount numeric NOT NULL,
	group_id int,
	CONSTRAINT sale_line_promotions_pkey PRIMARY KEY (customer_id, sale_id, line_no, promotion_id),
	CONSTRAINT sale_line_promotions_line_no_fkey FOREIGN KEY (customer_id, sale_id, line_no) REFERENCES customer_groups.sale_lines ON DELETE CASCADE,
	CONSTRAINT sale_line_promotions_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions,
	CONSTRAINT sale_line_promotions_discount_check CHECK (customer_groups.is_money(discount))
);
CREATE INDEX sale_line_promotions_promotion_id_idx ON customer_groups.sale_line_promotions (promotion_id);
COMMENT ON TABLE customer_groups.sale_line_promotions IS 'How much of a line''s discount came from which promotion.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.customer_id IS 'Customer; never updated.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.sale_id IS 'Sale.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.line_no IS 'Line.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.promotion_id IS 'Promotion; one that a sale used is not deleted.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.discount IS 'Its share of the line''s discount, in the store''s currency; also in a refund not negative.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.group_id IS 'The group through which the customer had it (of several the lowest id), which may have been deleted since; null: it was open to all, or for a segment.';

CREATE TRIGGER refuse_key_change BEFORE UPDATE ON customer_groups.sale_lines
	FOR EACH ROW WHEN (OLD.customer_id <> NEW.customer_id)
	EXECUTE FUNCTION customer_groups.refuse_key_change('customer_id');
CREATE TRIGGER refuse_key_change BEFORE UPDATE ON customer_groups.sale_line_promotions
	FOR EACH ROW WHEN (OLD.customer_id <> NEW.customer_id)
	EXECUTE FUNCTION customer_groups.refuse_key_change('customer_id');

CREATE FUNCTION customer_groups.refuse_used_promotion() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF EXISTS (SELECT FROM customer_groups.sale_line_promotions WHERE promotion_id = OLD.id) THEN
		RAISE EXCEPTION 'promotion "%" cannot be deleted', OLD.code
			USING ERRCODE = 'dependent_objects_still_exist',
				DETAIL = 'Sales have used it.',
				HINT = 'Set active = false to end it.';
	END IF;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_used_promotion() IS 'Trigger: a promotion that a sale used is not deleted (2BP01).';
CREATE TRIGGER refuse_used_promotion BEFORE DELETE ON customer_groups.promotions
	FOR EACH ROW EXECUTE FUNCTION customer_groups.refuse_used_promotion();
-- Tracked segments: stored members, their events, and what keeps them.

CREATE FUNCTION customer_groups.track_segment() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_track_segment' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.track_segment() IS
	'Trigger: marks a segment pending when it is tracked or its rule changes; removes its stored members when tracking ends, with an event for each.';
CREATE TRIGGER track_segment BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.segments
	FOR EACH ROW EXECUTE FUNCTION customer_groups.track_segment();
CREATE TRIGGER track_segment_truncate BEFORE TRUNCATE ON customer_groups.segments
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.track_segment();

CREATE FUNCTION customer_groups.mark_pending() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_mark_pending' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.mark_pending() IS
	'Trigger: marks the tracked segments pending whose rules build on what has changed.';
-- After rules have been given new codes, hence the names.
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.segments
	FOR EACH ROW WHEN (OLD.rule OPERATOR(customer_groups.<>) NEW.rule)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.groups
	FOR EACH ROW WHEN ((OLD.starts_on, OLD.ends_on, OLD.ladder, OLD.upgrade_threshold IS NULL)
		IS DISTINCT FROM (NEW.starts_on, NEW.ends_on, NEW.ladder, NEW.upgrade_threshold IS NULL))
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.categories
	FOR EACH ROW WHEN (OLD.parent_id IS DISTINCT FROM NEW.parent_id)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.items
	FOR EACH ROW WHEN (OLD.brand_id IS DISTINCT FROM NEW.brand_id)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending_inserted AFTER INSERT ON customer_groups.settings
	FOR EACH ROW WHEN (NEW.recorded_at = now())
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.settings
	FOR EACH ROW WHEN (OLD.timezone <> NEW.timezone)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending_deleted AFTER DELETE ON customer_groups.settings
	FOR EACH ROW EXECUTE FUNCTION customer_groups.mark_pending();

CREATE FUNCTION customer_groups.item_categories_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_item_categories_changed' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.item_categories_changed() IS
	'Trigger: marks the tracked segments pending whose rules ask for what was bought of a category, unless only items of this transaction have changed theirs.';
CREATE TRIGGER zz_inserted AFTER INSERT ON customer_groups.item_categories
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.item_categories_changed();
CREATE TRIGGER zz_updated AFTER UPDATE ON customer_groups.item_categories
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.item_categories_changed();
CREATE TRIGGER zz_deleted AFTER DELETE ON customer_groups.item_categories
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.item_categories_changed();

CREATE FUNCTION customer_groups.advance_segments(upto timestamptz DEFAULT now()) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_advance_segments' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION customer_groups.advance_segments(timestamptz) IS
	'Brings the stored members of tracked segments up to the day of a time, in the settings'' time zone, and returns how many entries and exits that made, each dated at the start of its day. Run it after midnight; missed nights are made up for day by day, and one that was reached before gives 0. It waits for the transactions that are judging customers, and keeps them waiting if the day is still to come. A null time is 22004, an infinite one, or one more than 100 years away, 22023. For the level edit. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE PROCEDURE customer_groups.fill_segments(batch_size int DEFAULT 1000)
	AS 'MODULE_PATHNAME', 'cg_fill_segments' LANGUAGE C;
COMMENT ON PROCEDURE customer_groups.fill_segments(int) IS
	'Makes the stored members of the segments that are pending follow from their rules: judges all customers, and commits after each batch of them, so that sales are held up for no longer. Inside a transaction block it is 25001, for a batch of less than one 22023, of null 22004. What becomes pending meanwhile stays so until the next call. For the level edit. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.track_customers(customer_ids bigint[]) RETURNS void
	AS 'MODULE_PATHNAME', 'cg_track_customers' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION customer_groups.track_customers(bigint[]) IS
	'Judges customers, whose facts rows the caller has locked, by all tracked segments; for rebuild_facts(). Null does nothing.';

CREATE VIEW customer_groups.segment_changes WITH (security_invoker) AS
	SELECT e.segment_id, s.code, s.name,
		((e.detail ->> 'effective_at')::timestamptz AT TIME ZONE customer_groups.settings_timezone())::date AS day,
		count(*) FILTER (WHERE e.kind = 'segment_entered') AS joins,
		count(*) FILTER (WHERE e.kind = 'segment_left') AS leaves
	FROM customer_groups.events e
	JOIN customer_groups.segments s ON s.id = e.segment_id
	WHERE e.kind IN ('segment_entered', 'segment_left')
	GROUP BY e.segment_id, s.code, s.name, 4;
COMMENT ON VIEW customer_groups.segment_changes IS 'For each tracked segment and day, in the settings'' time zone, how many customers entered and left it; days without either have no row. Entries include those found when the segment was filled in.';
COMMENT ON COLUMN customer_groups.segment_changes.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_changes.code IS 'Its present code.';
COMMENT ON COLUMN customer_groups.segment_changes.name IS 'Its present name.';
COMMENT ON COLUMN customer_groups.segment_changes.day IS 'Day on which the changes took effect.';
COMMENT ON COLUMN customer_groups.segment_changes.joins IS 'Customers who entered.';
COMMENT ON COLUMN customer_groups.segment_changes.leaves IS 'Customers who left.';

CREATE VIEW customer_groups.segment_history WITH (security_invoker) AS
	SELECT c.segment_id, c.code, c.name, c.day,
		(sum(c.joins - c.leaves) OVER (PARTITION BY c.segment_id ORDER BY c.day))::bigint AS size
	FROM customer_groups.segment_changes c;
COMMENT ON VIEW customer_groups.segment_history IS 'The size of each tracked segment at the end of each day on which customers entered or left it; in between it stays the same. Back to what purge_events() left.';
COMMENT ON COLUMN customer_groups.segment_history.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_history.code IS 'Its present code.';
COMMENT ON COLUMN customer_groups.segment_history.name IS 'Its present name.';
COMMENT ON COLUMN customer_groups.segment_history.day IS 'Day, in the settings'' time zone.';
COMMENT ON COLUMN customer_groups.segment_history.size IS 'Number of customers in it at the end of that day.';
-- Effective prices, carts, explanations.

CREATE FUNCTION customer_groups.effective_discount(
		customer_id bigint, item_id bigint, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS numeric
	AS 'MODULE_PATHNAME', 'cg_effective_discount'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.effective_discount(bigint, bigint, int, numeric, numeric, timestamptz) IS
	'What promotions take off the list price of one unit of the item for the customer, in the store''s currency (the settings'' without a store); 0 when none. A null customer is an anonymous one, a null store no store, a null order value none known; a null item gives null. An unknown customer, item or store is 02000, an item without a price there 22023.';

CREATE FUNCTION customer_groups.effective_price(
		customer_id bigint, item_id bigint, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now(),
		OUT list_price numeric, OUT discount numeric, OUT price numeric, OUT promotion_ids int[])
	RETURNS record
	AS 'MODULE_PATHNAME', 'cg_effective_price'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.effective_price(bigint, bigint, int, numeric, numeric, timestamptz) IS
	'List price, discount and price of one unit, and the promotions that lowered it in the order applied (empty when none); nulls, units and errors as effective_discount.';

CREATE FUNCTION customer_groups.effective_discounts(
		customer_id bigint, item_ids bigint[], store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (item_id bigint, list_price numeric, discount numeric, price numeric, promotion_ids int[])
	AS 'MODULE_PATHNAME', 'cg_effective_discounts'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION customer_groups.effective_discounts(bigint, bigint[], int, timestamptz) IS
	'What effective_price says of each item of a list, for one unit and no order value: one row for each element in the order given, of nulls for a null one; no row for a null list. Units and errors as effective_discount: one unknown item, or one without a price there, fails the call.';

CREATE FUNCTION customer_groups.explain_discount(
		customer_id bigint, item_id bigint, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (promotion_id int, code text, verdict text, discount numeric, reason text)
	AS 'MODULE_PATHNAME', 'cg_explain_discount'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION customer_groups.explain_discount(bigint, bigint, int, numeric, numeric, timestamptz) IS
	'What became of each promotion that covers the item, in use or not, by stage, priority and id. verdict: applied, beaten or not applicable. discount, of one unit: what it took, or for a beaten one what it would take alone on the price that its stage begins with; else null. reason, null for applied: the first that holds of inactive, not started, ended, other store, other currency, not in its groups, membership not started, membership expired, group not in its dates, group pricing off in this store, not in its segments, whole order, needs quantity ..., needs order value ..., no effect, better price by the code of the one that won (the first of those that apply together). Nulls, units and errors as effective_discount; no row for a null item.';

CREATE FUNCTION customer_groups.price_cart(
		customer_id bigint, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric,
		total numeric, promotion_ids int[])
	AS 'MODULE_PATHNAME', 'cg_price_cart_lines'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION customer_groups.price_cart(bigint, jsonb, int, timestamptz) IS
	'The price of a cart, given as [{"item": 7, "quantity": 2}, ...] with ids of items; the quantity is 1 when left out. One row for each line in the order given, line_no from 1: list price of one unit, discount and total of the line, in the store''s currency (the settings'' without a store), and the promotions that lowered its unit price or, on the whole order, its total, in the order applied (empty when none). A null customer is an anonymous one, a null store no store, an empty array gives no row. Null lines are 22004; a line of another form, or with a quantity that is not above 0 or has more than 8 decimals, is 22023; a quantity, line or cart (at list prices) of 10^14 or more 22003; an unknown customer, item or store 02000; an item without a price there 22023. Errors of a line name it.';

CREATE FUNCTION customer_groups.effective_discount_by_key(
		customer_external_id text, item_external_id text, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS numeric
	AS 'MODULE_PATHNAME', 'cg_effective_discount_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 120;
COMMENT ON FUNCTION customer_groups.effective_discount_by_key(text, text, int, numeric, numeric, timestamptz) IS
	'effective_discount of a customer and an item by their external_id: null is an anonymous customer, a null item gives null, an unknown one of either is 02000.';

CREATE FUNCTION customer_groups.effective_price_by_key(
		customer_external_id text, item_external_id text, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now(),
		OUT list_price numeric, OUT discount numeric, OUT price numeric, OUT promotion_ids int[])
	RETURNS record
	AS 'MODULE_PATHNAME', 'cg_effective_price_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 120;
COMMENT ON FUNCTION customer_groups.effective_price_by_key(text, text, int, numeric, numeric, timestamptz) IS
	'effective_price of a customer and an item by their external_id: null is an anonymous customer, a null item gives null, an unknown one of either is 02000.';

CREATE FUNCTION customer_groups.effective_discounts_by_key(
		customer_external_id text, item_external_ids text[], store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (item_id bigint, list_price numeric, discount numeric, price numeric, promotion_ids int[],
		item_external_id text)
	AS 'MODULE_PATHNAME', 'cg_effective_discounts_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION customer_groups.effective_discounts_by_key(text, text[], int, timestamptz) IS
	'effective_discounts of a customer and a list of items by their external_id, which is the last column: null is an anonymous customer, a null element gives a row of nulls, an unknown one of either is 02000.';

CREATE FUNCTION customer_groups.price_cart_by_key(
		customer_external_id text, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric,
		total numeric, promotion_ids int[], item_external_id text)
	AS 'MODULE_PATHNAME', 'cg_price_cart_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION customer_groups.price_cart_by_key(text, jsonb, int, timestamptz) IS
	'price_cart of a customer by its external_id (null: an anonymous one) and lines with those of items, [{"item": "sku-7", "quantity": 2}, ...]; the last column is the item''s. An unknown one is 02000.';
-- Present and past memberships, as views.

CREATE FUNCTION customer_groups.shop_today() RETURNS date
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN (now() AT TIME ZONE customer_groups.settings_timezone())::date;
COMMENT ON FUNCTION customer_groups.shop_today() IS 'The current day in the settings'' time zone.';

CREATE VIEW customer_groups.valid_members WITH (security_invoker) AS
	SELECT m.customer_id, m.group_id, m.source, m.valid_from, m.valid_until, m.added_at, m.added_by
	FROM customer_groups.members m
	WHERE (m.valid_from IS NULL OR m.valid_from <= (SELECT customer_groups.shop_today()))
		AND (m.valid_until IS NULL OR m.valid_until >= (SELECT customer_groups.shop_today()));
COMMENT ON VIEW customer_groups.valid_members IS 'Memberships that are valid today, by the settings'' time zone.';
COMMENT ON COLUMN customer_groups.valid_members.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.valid_members.group_id IS 'Group, whatever its own dates are.';
COMMENT ON COLUMN customer_groups.valid_members.source IS 'How the membership came about: manual, self, bulk or tier.';
COMMENT ON COLUMN customer_groups.valid_members.valid_from IS 'First day; null: no start.';
COMMENT ON COLUMN customer_groups.valid_members.valid_until IS 'Last day; null: no end.';
COMMENT ON COLUMN customer_groups.valid_members.added_at IS 'When it was added.';
COMMENT ON COLUMN customer_groups.valid_members.added_by IS 'By whom.';

-- Each addition, renewals included, begins a membership; the next addition or
-- the removal ends it; what was recorded last in between says how it was.
CREATE VIEW customer_groups.member_history WITH (security_invoker) AS
	SELECT l.customer_id, l.group_id, coalesce(g.code, l.last_detail ->> 'code') AS group_code,
		coalesce(g.name, l.last_detail ->> 'name') AS name, l.detail ->> 'source' AS source,
		(l.detail ->> 'valid_from')::date AS valid_from, (l.detail ->> 'valid_until')::date AS valid_until,
		l.added_at,
		coalesce(l.removed_at, lead(l.began_at) OVER (PARTITION BY l.customer_id, l.group_id ORDER BY l.life)) AS ended_at,
		l.added_by, l.began_at
	FROM (SELECT e.customer_id, e.group_id, e.life,
				min(e.at) FILTER (WHERE e.kind = 'member_added') AS began_at,
				coalesce((array_agg((e.detail ->> 'added_at')::timestamptz ORDER BY e.id DESC)
						  FILTER (WHERE e.kind <> 'member_removed' AND e.detail ? 'added_at'))[1],
						 min(e.at) FILTER (WHERE e.kind = 'member_added')) AS added_at,
				(array_agg(coalesce(e.detail ->> 'added_by', e.actor) ORDER BY e.id DESC)
					FILTER (WHERE e.kind = 'member_added' OR e.kind = 'member_changed' AND e.detail ? 'added_by'))[1] AS added_by,
				min(e.at) FILTER (WHERE e.kind = 'member_removed') AS removed_at,
				(array_agg(e.detail ORDER BY e.id DESC) FILTER (WHERE e.kind <> 'member_removed'))[1] AS detail,
				(array_agg(e.detail ORDER BY e.id DESC))[1] AS last_detail
		  FROM (SELECT v.id, v.at, v.kind, v.customer_id, v.group_id, v.actor, v.detail,
					count(*) FILTER (WHERE v.kind = 'member_added')
						OVER (PARTITION BY v.customer_id, v.group_id ORDER BY v.id) AS life
				FROM customer_groups.events v
				WHERE v.kind IN ('member_added', 'member_changed', 'member_removed')) e
		  GROUP BY e.customer_id, e.group_id, e.life) l
	LEFT JOIN customer_groups.groups g ON g.id = l.group_id
	WHERE l.began_at IS NOT NULL;
COMMENT ON VIEW customer_groups.member_history IS
	'All memberships there have been, from the event log: who was in which group, how, by whom, since when and until when (ended_at null: still recorded); began_at is when the addition was logged.';
COMMENT ON COLUMN customer_groups.member_history.customer_id IS 'Customer, who may be gone.';
COMMENT ON COLUMN customer_groups.member_history.group_id IS 'Group, which may be gone.';
COMMENT ON COLUMN customer_groups.member_history.group_code IS 'The group''s present code, or its last one.';
COMMENT ON COLUMN customer_groups.member_history.name IS 'The group''s present name, or its last one.';
COMMENT ON COLUMN customer_groups.member_history.source IS 'How it came about: manual, self, bulk or tier.';
COMMENT ON COLUMN customer_groups.member_history.valid_from IS 'First day, as recorded last; null: no start.';
COMMENT ON COLUMN customer_groups.member_history.valid_until IS 'Last day, as recorded last; null: no end.';
COMMENT ON COLUMN customer_groups.member_history.added_at IS 'When it was added, as recorded last.';
COMMENT ON COLUMN customer_groups.member_history.ended_at IS 'When it was removed, or the next one began; null: still recorded.';
COMMENT ON COLUMN customer_groups.member_history.added_by IS 'By whom it was added.';
COMMENT ON COLUMN customer_groups.member_history.began_at IS 'When the addition was logged.';

CREATE FUNCTION customer_groups.was_valid(at timestamptz, day date, valid_from date, valid_until date,
										  added_at timestamptz, ended_at timestamptz)
	RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (ended_at IS NULL OR at < ended_at)
		AND CASE WHEN valid_from IS NULL THEN added_at <= at ELSE valid_from <= day END
		AND coalesce(day <= valid_until, true);
COMMENT ON FUNCTION customer_groups.was_valid(timestamptz, date, date, date, timestamptz, timestamptz) IS
	'Whether a membership of member_history holds at a time on a day: from valid_from (without one, from its addition) to valid_until, cut off at its end. Null dates are open ends; null at or day: null.';
-- Groups and members for the people who keep them.

-- What the functions below share.

CREATE FUNCTION customer_groups.search_form(value text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN normalize(lower(normalize(value, NFC) COLLATE "und-x-icu"), NFC) COLLATE "C";
COMMENT ON FUNCTION customer_groups.search_form(text) IS
	'The form in which texts are compared when searching: NFC-normalised and lower-cased under und-x-icu, whatever the database''s locale; null for null.';

CREATE INDEX customers_email_idx ON customer_groups.customers (customer_groups.search_form(btrim(email)));

CREATE FUNCTION customer_groups.group_id_of(group_code text) RETURNS int
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	result int;
BEGIN
	IF group_code IS NULL THEN
		RAISE EXCEPTION 'the group must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the code of a group.';
	END IF;
	SELECT g.id INTO result FROM customer_groups.groups g WHERE g.code = group_code;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown group'
			USING ERRCODE = '02000', DETAIL = format('There is no group with code "%s".', group_code),
				HINT = 'find_groups('''') lists the groups there are.';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION customer_groups.group_id_of(text) IS 'The id of a group; an unknown code is 02000, a null one 22004.';

CREATE FUNCTION customer_groups.check_customers(customer_ids bigint[]) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	unknown bigint;
BEGIN
	IF customer_ids IS NULL OR array_position(customer_ids, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'the customer must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id of a customer.';
	END IF;
	SELECT u.id INTO unknown FROM unnest(customer_ids) AS u (id)
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = u.id)
	ORDER BY u.id LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown customer'
			USING ERRCODE = '02000', DETAIL = format('There is no customer with id %s.', unknown),
				HINT = 'Insert the customer first, or leave it out.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_customers(bigint[]) IS 'Raises 02000 for an unknown customer and 22004 for a null one.';

-- One customer.

CREATE FUNCTION customer_groups.add_member(customer_id bigint, group_code text, valid_until date DEFAULT NULL)
	RETURNS boolean
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	today date := customer_groups.shop_today();
	to_group int := customer_groups.group_id_of(group_code);
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[add_member.customer_id]);
	IF add_member.valid_until = 'infinity' THEN
		RAISE EXCEPTION 'the last day must be a calendar day'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The day given is infinity.',
				HINT = 'Give null for no end.';
	END IF;
	IF add_member.valid_until < today THEN
		RAISE EXCEPTION 'the membership would be over'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('It would end on %s, and today is %s.', add_member.valid_until, today),
				HINT = 'Give today or a later day, or null for no end.';
	END IF;
	PERFORM customer_groups.lock_customers(ARRAY[add_member.customer_id]);
	IF EXISTS (SELECT FROM customer_groups.valid_members v
			   WHERE v.customer_id = add_member.customer_id AND v.group_id = to_group)
	THEN
		UPDATE customer_groups.members m SET valid_until = add_member.valid_until
		WHERE m.customer_id = add_member.customer_id AND m.group_id = to_group
			AND m.valid_until IS DISTINCT FROM add_member.valid_until;
		RETURN false;
	END IF;
	INSERT INTO customer_groups.members AS m (customer_id, group_id, source, valid_until)
	VALUES (add_member.customer_id, to_group, 'manual', add_member.valid_until)
	ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
	SET source = excluded.source, valid_from = NULL, valid_until = excluded.valid_until,
		added_at = excluded.added_at, added_by = excluded.added_by;
	RETURN true;
END
$$;
COMMENT ON FUNCTION customer_groups.add_member(bigint, text, date) IS
	'Adds a customer to a group until the last day given (null: no end). True when it was not a valid member (one that has expired is renewed); for a valid one valid_until is set and the answer is false. Unknown customer or group: 02000 (a group that is deleted meanwhile: 23503); null: 22004; a day that is over, or infinite: 22023.';

CREATE FUNCTION customer_groups.remove_member(customer_id bigint, group_code text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(group_code);
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[remove_member.customer_id]);
	PERFORM customer_groups.lock_customers(ARRAY[remove_member.customer_id]);
	DELETE FROM customer_groups.members m
	WHERE m.customer_id = remove_member.customer_id AND m.group_id = from_group;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION customer_groups.remove_member(bigint, text) IS
	'Takes a customer out of a group; true when it was in it, also when that had expired. Unknown customer or group: 02000; null: 22004.';

CREATE FUNCTION customer_groups.set_groups(customer_id bigint, group_codes text[])
	RETURNS TABLE (group_code text, change text)
	LANGUAGE plpgsql VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	before int[];
	wanted int[];
	tiers record;
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[set_groups.customer_id]);
	IF group_codes IS NULL THEN
		RAISE EXCEPTION 'the list of groups must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give an empty array for no group at all.';
	END IF;
	wanted := ARRAY(SELECT DISTINCT customer_groups.group_id_of(u.code) FROM unnest(group_codes) AS u (code));
	SELECT coalesce(g.ladder, 'default') AS ladder, string_agg(quote_literal(g.code), ', ' ORDER BY g.id) AS codes
	INTO tiers
	FROM customer_groups.groups g
	WHERE g.id = ANY (wanted) AND g.upgrade_threshold IS NOT NULL
	GROUP BY 1 HAVING count(*) > 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'a customer cannot be given two tiers of one ladder at once'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('%s are tiers of ladder "%s".', tiers.codes, tiers.ladder),
				HINT = 'Name one tier of each ladder.';
	END IF;
	PERFORM customer_groups.lock_customers(ARRAY[set_groups.customer_id]);
	before := ARRAY(SELECT v.group_id FROM customer_groups.valid_members v
					WHERE v.customer_id = set_groups.customer_id);

	-- What is added first replaces the other tiers of its ladder in one move.
	INSERT INTO customer_groups.members AS m (customer_id, group_id, source)
	SELECT set_groups.customer_id, u.id, 'manual' FROM unnest(wanted) AS u (id)
	WHERE u.id <> ALL (before)
	ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
	SET source = excluded.source, valid_from = NULL, valid_until = NULL,
		added_at = excluded.added_at, added_by = excluded.added_by;
	DELETE FROM customer_groups.members m
	WHERE m.customer_id = set_groups.customer_id AND m.group_id <> ALL (wanted);

	RETURN QUERY
	SELECT g.code, CASE WHEN g.id = ANY (wanted) THEN 'added' ELSE 'removed' END
	FROM customer_groups.groups g
	WHERE (g.id = ANY (wanted)) <> (g.id = ANY (before))
	ORDER BY 2, 1;
END
$$;
COMMENT ON FUNCTION customer_groups.set_groups(bigint, text[]) IS
	'Makes a customer a member of exactly these groups and returns what changed: ''added'' (one that had expired as well) or ''removed''. Two tiers of one ladder: 22023; unknown customer or group: 02000; null: 22004.';

-- Many customers.

CREATE FUNCTION customer_groups.add_members(group_code text, customer_ids bigint[]) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	today date := customer_groups.shop_today();
	to_group int := customer_groups.group_id_of(group_code);
	ids constant bigint[] := ARRAY(SELECT DISTINCT u.id FROM unnest(customer_ids) AS u (id) ORDER BY u.id);
	total constant int := cardinality(ids);
	changed bigint := 0;
	n bigint;
BEGIN
	PERFORM customer_groups.check_customers(customer_ids);
	PERFORM customer_groups.report_progress('add_members', 0, total);
	PERFORM customer_groups.lock_customers(ids);
	FOR done IN 0 .. total - 1 BY 10000 LOOP
		INSERT INTO customer_groups.members AS m (customer_id, group_id, source)
		SELECT u.id, to_group, 'bulk' FROM unnest(ids[done + 1 : done + 10000]) AS u (id)
		ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
		SET source = excluded.source, valid_from = NULL, valid_until = NULL,
			added_at = excluded.added_at, added_by = excluded.added_by
		WHERE m.valid_from > today OR m.valid_until < today;
		GET DIAGNOSTICS n = ROW_COUNT;
		changed := changed + n;
		PERFORM customer_groups.report_progress('add_members', done + 10000, total);
	END LOOP;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.add_members(text, bigint[]) IS
	'Adds customers to a group; those who are valid members stay as they are, those whose membership has expired are renewed. The number added or renewed. Unknown customer or group: 02000 (a group that is deleted meanwhile: 23503), with nobody added; null: 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.remove_members(group_code text, customer_ids bigint[]) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(group_code);
	ids constant bigint[] := ARRAY(SELECT DISTINCT u.id FROM unnest(customer_ids) AS u (id) ORDER BY u.id);
	total constant int := cardinality(ids);
	changed bigint := 0;
	n bigint;
BEGIN
	PERFORM customer_groups.check_customers(customer_ids);
	PERFORM customer_groups.report_progress('remove_members', 0, total);
	PERFORM customer_groups.lock_customers(ids);
	FOR done IN 0 .. total - 1 BY 10000 LOOP
		DELETE FROM customer_groups.members m
		WHERE m.group_id = from_group AND m.customer_id = ANY (ids[done + 1 : done + 10000]);
		GET DIAGNOSTICS n = ROW_COUNT;
		changed := changed + n;
		PERFORM customer_groups.report_progress('remove_members', done + 10000, total);
	END LOOP;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.remove_members(text, bigint[]) IS
	'Takes customers out of a group; the number that were in it. Unknown customer or group: 02000, with nobody removed; null: 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.move_members(customer_ids bigint[], from_code text, to_code text) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(from_code);
	to_group int := customer_groups.group_id_of(to_code);
	moved bigint[];
BEGIN
	IF from_group = to_group THEN
		RAISE EXCEPTION 'members cannot be moved within one group'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Both groups are "%s".', to_code),
				HINT = 'Name two groups.';
	END IF;
	PERFORM customer_groups.check_customers(customer_ids);
	PERFORM customer_groups.lock_customers(customer_ids);
	moved := ARRAY(SELECT m.customer_id FROM customer_groups.members m
				   WHERE m.group_id = from_group AND m.customer_id = ANY (customer_ids)
				   ORDER BY m.customer_id);
	-- What is added first replaces the other tiers of its ladder in one move.
	PERFORM customer_groups.add_members(to_code, moved);
	FOR done IN 0 .. cardinality(moved) - 1 BY 10000 LOOP
		PERFORM customer_groups.report_progress('move_members', done, cardinality(moved));
		DELETE FROM customer_groups.members m
		WHERE m.group_id = from_group AND m.customer_id = ANY (moved[done + 1 : done + 10000]);
	END LOOP;
	PERFORM customer_groups.report_progress('move_members', cardinality(moved), cardinality(moved));
	RETURN cardinality(moved);
END
$$;
COMMENT ON FUNCTION customer_groups.move_members(bigint[], text, text) IS
	'Moves those of the customers who are in the first group to the second; the number moved. Unknown customer or group: 02000, with nobody moved; one group twice: 22023; null: 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.add_members_by_email(group_code text, emails text)
	RETURNS TABLE (email text, customer_id bigint, outcome text)
	LANGUAGE plpgsql VOLATILE ROWS 100 SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
DECLARE
	to_group int := customer_groups.group_id_of(group_code);
	-- What is read as a blank; those without a width as well.
	blanks constant text := E'\t\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A\u200B\u202F\u205F\u3000\uFEFF';
	addresses text[];
	customers bigint[];
	outcomes text[];
BEGIN
	IF emails IS NULL THEN
		RAISE EXCEPTION 'the list of addresses must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give an empty text for nobody.';
	END IF;
	-- An entry is what stands between separators that are not in quotes; a quote
	-- that is not closed on its line is a letter like others. The address is what
	-- stands in angle brackets at the end, else the whole.
	WITH entries AS (
		SELECT e.place, btrim(coalesce(substring(e.entry[1] FROM '<([^<>]*)> *$'), e.entry[1])) AS address
		FROM regexp_matches(
				translate(emails, blanks, repeat(' ', length(blanks))),
				E'((?:"[^"\n\r\u000B\u000C\u0085\u2028\u2029]*"|"(?![^"\n\r\u000B\u000C\u0085\u2028\u2029]*")|[^",;\n\r\u000B\u000C\u0085\u2028\u2029])+)',
				'g') WITH ORDINALITY AS e (entry, place)
		WHERE e.entry[1] ~ '[^ ]'
	), forms AS (
		SELECT n.place, n.address, customer_groups.search_form(n.address) AS form,
			n.address ~ E'^[^\\s@<>(),;:"\\\\]+@[^\\s@<>(),;:"\\\\.]+(\\.[^\\s@<>(),;:"\\\\.]+)*$' AS valid
		FROM entries n
	), places AS (
		SELECT f.place, f.address, f.form, f.valid,
			f.valid AND row_number() OVER (PARTITION BY f.valid, f.form ORDER BY f.place) > 1 AS repeated
		FROM forms f
	), found AS (
		SELECT f.form, min(c.id) AS id, count(*) AS n
		FROM (SELECT DISTINCT p.form FROM places p WHERE p.valid) f
		JOIN customer_groups.customers c ON customer_groups.search_form(btrim(c.email)) = f.form
		GROUP BY f.form
	)
	SELECT array_agg(p.address ORDER BY p.place),
		array_agg(CASE WHEN d.n = 1 THEN d.id END ORDER BY p.place),
		array_agg(CASE WHEN NOT p.valid THEN 'invalid' WHEN p.repeated THEN 'repeated'
					   WHEN d.n > 1 THEN 'ambiguous' WHEN d.n IS NULL THEN 'not_found' END
				  ORDER BY p.place)
	INTO addresses, customers, outcomes
	FROM places p LEFT JOIN found d ON p.valid AND d.form = p.form;

	-- Who is a member is asked once nobody else can change it.
	PERFORM customer_groups.lock_customers(ARRAY(
		SELECT u.id FROM unnest(customers, outcomes) AS u (id, outcome) WHERE u.outcome IS NULL));
	outcomes := ARRAY(
		SELECT CASE WHEN u.outcome IS NOT NULL THEN u.outcome
					WHEN v.customer_id IS NOT NULL THEN 'already_member' ELSE 'added' END
		FROM unnest(customers, outcomes) WITH ORDINALITY AS u (id, outcome, place)
		LEFT JOIN customer_groups.valid_members v ON v.customer_id = u.id AND v.group_id = to_group
		ORDER BY u.place);
	PERFORM customer_groups.add_members(group_code, ARRAY(
		SELECT u.id FROM unnest(customers, outcomes) AS u (id, outcome) WHERE u.outcome = 'added'));
	RETURN QUERY
	SELECT u.address, u.id, u.outcome
	FROM unnest(addresses, customers, outcomes) WITH ORDINALITY AS u (address, id, outcome, place)
	ORDER BY u.place;
END
$$;
COMMENT ON FUNCTION customer_groups.add_members_by_email(text, text) IS
	'Adds the customers of a pasted list of e-mail addresses (separated by commas, semicolons or line breaks, also as Name <address>) to a group. One row for each entry, in order; outcome, the first that holds: invalid, repeated (the address stood before, upper and lower case alike), ambiguous (several customers have it), not_found, already_member, added. The good ones are added whatever the others are. An empty list gives no row; an unknown group is 02000, a null group or list 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

-- Self-enrollment.

CREATE FUNCTION customer_groups.may_enroll_many() RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	RETURN coalesce((SELECT s.enroll_many FROM customer_groups.settings s), false);
COMMENT ON FUNCTION customer_groups.may_enroll_many() IS 'Whether a customer may enroll in more than one group: the settings'' enroll_many.';

CREATE VIEW customer_groups.enrollable_groups WITH (security_invoker) AS
	SELECT g.code, g.name, g.description, g.starts_on, g.ends_on
	FROM customer_groups.groups g
	WHERE g.self_enroll AND g.upgrade_threshold IS NULL
		AND g.starts_on <= (SELECT customer_groups.shop_today())
		AND (g.ends_on IS NULL OR g.ends_on >= (SELECT customer_groups.shop_today()));
COMMENT ON VIEW customer_groups.enrollable_groups IS 'Groups that customers may enroll in today, by the settings'' time zone; never tiers.';
COMMENT ON COLUMN customer_groups.enrollable_groups.code IS 'Group''s code, for enroll().';
COMMENT ON COLUMN customer_groups.enrollable_groups.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.enrollable_groups.description IS 'Its description; null: none.';
COMMENT ON COLUMN customer_groups.enrollable_groups.starts_on IS 'First day in effect.';
COMMENT ON COLUMN customer_groups.enrollable_groups.ends_on IS 'Last day in effect; null: no end.';

CREATE FUNCTION customer_groups.enroll(customer_id bigint, group_codes text[]) RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	today date := customer_groups.shop_today();
	refused text;
	enrolled int;
	held text;
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[enroll.customer_id]);
	IF group_codes IS NULL THEN
		RAISE EXCEPTION 'the list of groups must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the codes of the groups.';
	END IF;
	PERFORM customer_groups.group_id_of(u.code) FROM unnest(group_codes) AS u (code);
	SELECT u.code INTO refused FROM unnest(group_codes) AS u (code)
	WHERE NOT EXISTS (SELECT FROM customer_groups.enrollable_groups e WHERE e.code = u.code)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'group "%" is not open for enrollment', refused
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Group "%s" is a tier, is not in effect today, or does not allow self-enrollment.', refused),
				HINT = 'The view enrollable_groups lists those that are open.';
	END IF;

	-- The customer's lock makes two enrollments at once see each other.
	PERFORM customer_groups.lock_customers(ARRAY[enroll.customer_id]);
	INSERT INTO customer_groups.members AS m (customer_id, group_id, source)
	SELECT enroll.customer_id, g.id, 'self' FROM customer_groups.groups g WHERE g.code = ANY (group_codes)
	ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
	SET source = excluded.source, valid_from = NULL, valid_until = NULL,
		added_at = excluded.added_at, added_by = excluded.added_by
	WHERE m.valid_from > today OR m.valid_until < today;
	GET DIAGNOSTICS enrolled = ROW_COUNT;

	IF enrolled > 0 AND NOT customer_groups.may_enroll_many() THEN
		SELECT string_agg(quote_literal(g.code), ', ' ORDER BY g.code) INTO held
		FROM customer_groups.valid_members v JOIN customer_groups.groups g ON g.id = v.group_id
		WHERE v.customer_id = enroll.customer_id AND v.source = 'self'
		HAVING count(*) > 1;
		IF held IS NOT NULL THEN
			RAISE EXCEPTION 'a customer may enroll in one group only'
				USING ERRCODE = 'object_not_in_prerequisite_state',
					DETAIL = format('Customer %s would be enrolled in %s.', enroll.customer_id, held),
					HINT = 'Remove the customer from the other group first, or set enroll_many in the settings.';
		END IF;
	END IF;
	RETURN enrolled;
END
$$;
COMMENT ON FUNCTION customer_groups.enroll(bigint, text[]) IS
	'Enrolls a customer in groups that are open for it and returns how many it newly joined; in those of which it is a valid member nothing changes. A group that is not open: 22023; more than one enrollment in all without the settings'' enroll_many: 55000; unknown customer or group: 02000; null: 22004.';

-- Groups.

CREATE FUNCTION customer_groups.find_groups(keyword text) RETURNS SETOF customer_groups.groups
	LANGUAGE sql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT g.* FROM customer_groups.groups g
		-- Once, not for each row.
		CROSS JOIN (SELECT customer_groups.search_form(coalesce(keyword, '')) AS form OFFSET 0) k
		WHERE strpos(customer_groups.search_form(g.code), k.form) > 0
			OR strpos(customer_groups.search_form(g.name), k.form) > 0
			OR strpos(customer_groups.search_form(g.description), k.form) > 0
		ORDER BY g.code;
	END;
COMMENT ON FUNCTION customer_groups.find_groups(text) IS
	'Groups with the keyword in their code, name or description, upper and lower case alike, % and _ as they are; an empty or null keyword finds all.';

CREATE FUNCTION customer_groups.set_store_pricing(group_code text, store_id int, use boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	of_group int := customer_groups.group_id_of(group_code);
BEGIN
	IF set_store_pricing.store_id IS NULL THEN
		RAISE EXCEPTION 'the store must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id of a store.';
	END IF;
	IF NOT EXISTS (SELECT FROM customer_groups.stores s WHERE s.id = set_store_pricing.store_id) THEN
		RAISE EXCEPTION 'unknown store'
			USING ERRCODE = '02000', DETAIL = format('There is no store with id %s.', set_store_pricing.store_id),
				HINT = 'Give the id of an existing store.';
	END IF;
	IF use IS NULL THEN
		DELETE FROM customer_groups.group_store_pricing p
		WHERE p.group_id = of_group AND p.store_id = set_store_pricing.store_id;
	ELSE
		INSERT INTO customer_groups.group_store_pricing AS p (group_id, store_id, use_pricing)
		VALUES (of_group, set_store_pricing.store_id, use)
		ON CONFLICT ON CONSTRAINT group_store_pricing_pkey DO UPDATE SET use_pricing = excluded.use_pricing
		WHERE p.use_pricing <> excluded.use_pricing;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.set_store_pricing(text, int, boolean) IS
	'A store''s own answer on whether a group counts for its prices, over the group''s; null takes it back. Unknown group or store: 02000; a null one: 22004.';

CREATE VIEW customer_groups.group_stores WITH (security_invoker) AS
	SELECT g.code AS group_code, s.id AS store_id, s.code AS store_code,
		coalesce(p.use_pricing, g.use_pricing) AS use_pricing,
		CASE WHEN p.group_id IS NULL THEN 'group' ELSE 'store' END AS answered_by
	FROM customer_groups.groups g
	CROSS JOIN customer_groups.stores s
	LEFT JOIN customer_groups.group_store_pricing p ON p.group_id = g.id AND p.store_id = s.id;
COMMENT ON VIEW customer_groups.group_stores IS 'For each group and store: whether the group counts for prices there, and whose answer that is (''store'' or ''group'').';
COMMENT ON COLUMN customer_groups.group_stores.group_code IS 'Group.';
COMMENT ON COLUMN customer_groups.group_stores.store_id IS 'Store.';
COMMENT ON COLUMN customer_groups.group_stores.store_code IS 'The store''s code.';
COMMENT ON COLUMN customer_groups.group_stores.use_pricing IS 'Whether the group counts for prices in the store.';
COMMENT ON COLUMN customer_groups.group_stores.answered_by IS 'Whose answer that is: store or group.';

CREATE VIEW customer_groups.group_promotions WITH (security_invoker) AS
	SELECT g.code AS group_code, p.id AS promotion_id, p.code AS promotion_code, p.name, p.kind, p.value,
		p.level, p.currency, p.groups_only, p.active, p.starts_at, p.ends_at
	FROM customer_groups.groups g
	JOIN customer_groups.promotion_groups a ON a.group_id = g.id
	JOIN customer_groups.promotions p ON p.id = a.promotion_id;
COMMENT ON VIEW customer_groups.group_promotions IS 'The promotions of each group.';
COMMENT ON COLUMN customer_groups.group_promotions.group_code IS 'Group.';
COMMENT ON COLUMN customer_groups.group_promotions.promotion_id IS 'Promotion that is attached to it.';
COMMENT ON COLUMN customer_groups.group_promotions.promotion_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.group_promotions.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.group_promotions.kind IS 'percent, amount or fixed_price.';
COMMENT ON COLUMN customer_groups.group_promotions.value IS 'Percent, or money in its currency, by kind.';
COMMENT ON COLUMN customer_groups.group_promotions.level IS 'item or order.';
COMMENT ON COLUMN customer_groups.group_promotions.currency IS 'Its currency; null: the settings''.';
COMMENT ON COLUMN customer_groups.group_promotions.groups_only IS 'false: it is open to everybody all the same.';
COMMENT ON COLUMN customer_groups.group_promotions.active IS 'Whether it is switched on.';
COMMENT ON COLUMN customer_groups.group_promotions.starts_at IS 'From when on; null: no start.';
COMMENT ON COLUMN customer_groups.group_promotions.ends_at IS 'Until when, exclusively; null: no end.';

CREATE FUNCTION customer_groups.delete_group(group_code text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	of_group int := customer_groups.group_id_of(group_code);
BEGIN
	-- Customers before the group, in the order in which an upgrade locks them.
	PERFORM customer_groups.lock_customers(ARRAY(
		SELECT m.customer_id FROM customer_groups.members m WHERE m.group_id = of_group));
	DELETE FROM customer_groups.groups g WHERE g.id = of_group;
END
$$;
COMMENT ON FUNCTION customer_groups.delete_group(text) IS
	'Deletes a group for good: its members and attachments go, sales, events and past discounts stay. Says so when a promotion for groups only is then open to nobody. Unknown group: 02000; a null one: 22004; one that a segment''s rule names: 2BP01.';

-- Who is and was where.

CREATE FUNCTION customer_groups.check_horizon(at timestamptz) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	horizon timestamptz;
BEGIN
	IF NOT isfinite(at) THEN
		RAISE EXCEPTION 'invalid time'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The time is %s.', at), HINT = 'Give a finite time.';
	END IF;
	SELECT max((e.detail ->> 'before')::timestamptz) INTO horizon
	FROM customer_groups.events e WHERE e.kind = 'events_purged';
	IF at < horizon THEN
		RAISE EXCEPTION 'the event log does not go back that far'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('%s was asked for, and events before %s have been purged.', at, horizon),
				HINT = 'Ask for a later time.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_horizon(timestamptz) IS 'Raises 22023 for a time before the last purge of the event log, and for an infinite one; not for null, which is now.';

CREATE FUNCTION customer_groups.groups_of(customer_id bigint, at timestamptz DEFAULT NULL)
	RETURNS TABLE (group_code text, name text, source text, valid_from date, valid_until date)
	LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	day date := (at AT TIME ZONE customer_groups.settings_timezone())::date;
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[groups_of.customer_id]);
	IF at IS NULL THEN
		RETURN QUERY
		SELECT g.code, g.name, v.source, v.valid_from, v.valid_until
		FROM customer_groups.valid_members v JOIN customer_groups.groups g ON g.id = v.group_id
		WHERE v.customer_id = groups_of.customer_id
		ORDER BY g.code;
	ELSE
		PERFORM customer_groups.check_horizon(at);
		RETURN QUERY
		-- Two memberships of a group overlap where the later one starts before its addition: it counts.
		SELECT l.group_code, l.name, l.source, l.valid_from, l.valid_until
		FROM (SELECT DISTINCT ON (h.group_id) h.*
			  FROM customer_groups.member_history h
			  WHERE h.customer_id = groups_of.customer_id
				AND customer_groups.was_valid(at, day, h.valid_from, h.valid_until, h.added_at, h.ended_at)
			  ORDER BY h.group_id, h.ended_at DESC NULLS FIRST) l
		ORDER BY l.group_code;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.groups_of(bigint, timestamptz) IS
	'The groups of a customer: with a null time those of which it is a valid member today (settings'' time zone), else those as of that time, from the event log. Dates and use_pricing of the groups play no part. Unknown customer: 02000; a time before the purge of the log: 22023; a null customer: 22004.';

CREATE FUNCTION customer_groups.members_of(group_code text, at timestamptz DEFAULT NULL)
	RETURNS TABLE (customer_id bigint, source text, valid_from date, valid_until date)
	LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	day date := (at AT TIME ZONE customer_groups.settings_timezone())::date;
	of_group int := customer_groups.group_id_of(group_code);
BEGIN
	IF at IS NULL THEN
		RETURN QUERY
		SELECT v.customer_id, v.source, v.valid_from, v.valid_until
		FROM customer_groups.valid_members v WHERE v.group_id = of_group
		ORDER BY v.customer_id;
	ELSE
		PERFORM customer_groups.check_horizon(at);
		RETURN QUERY
		SELECT DISTINCT ON (h.customer_id) h.customer_id, h.source, h.valid_from, h.valid_until
		FROM customer_groups.member_history h
		WHERE h.group_id = of_group
			AND customer_groups.was_valid(at, day, h.valid_from, h.valid_until, h.added_at, h.ended_at)
		ORDER BY h.customer_id, h.ended_at DESC NULLS FIRST;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.members_of(text, timestamptz) IS
	'The members of a group, the other way round of groups_of, with the same meaning of the time. Unknown group: 02000; a time before the purge of the log: 22023; a null group: 22004.';

-- Customers.

CREATE FUNCTION customer_groups.search_customers(keyword text)
	RETURNS TABLE (customer_id bigint, name text, email text, phone text, group_codes text[], labels jsonb)
	LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	form text := customer_groups.search_form(coalesce(keyword, ''));
	found bigint[];
BEGIN
	found := ARRAY(
		SELECT c.id FROM customer_groups.customers c
		WHERE strpos(customer_groups.search_form(c.name), form) > 0
			OR strpos(customer_groups.search_form(c.email), form) > 0
			OR strpos(customer_groups.search_form(c.phone), form) > 0
			OR strpos(customer_groups.search_form(c.external_id), form) > 0
		ORDER BY c.id);
	RETURN QUERY
	SELECT c.id, c.name, c.email, c.phone,
		ARRAY(SELECT g.code FROM customer_groups.valid_members v
			  JOIN customer_groups.groups g ON g.id = v.group_id
			  WHERE v.customer_id = c.id ORDER BY g.code),
		l.labels
	FROM customer_groups.labels_of(found) l
	JOIN customer_groups.customers c ON c.id = l.customer_id
	ORDER BY c.id;
END
$$;
COMMENT ON FUNCTION customer_groups.search_customers(text) IS
	'Customers with the keyword in their name, e-mail address, telephone number or external id, compared as find_groups does, with the groups of which they are valid members today and their labels (code, name, color); an empty or null keyword finds all that have any of them.';

CREATE FUNCTION customer_groups.forget_customer(customer_id bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM customer_groups.check_owner();
	PERFORM customer_groups.check_customers(ARRAY[forget_customer.customer_id]);
	PERFORM customer_groups.lock_customers(ARRAY[forget_customer.customer_id]);
	DELETE FROM customer_groups.members m WHERE m.customer_id = forget_customer.customer_id;
	UPDATE customer_groups.customers c
	SET external_id = NULL, name = NULL, email = NULL, phone = NULL, birth_date = NULL, attributes = '{}'
	WHERE c.id = forget_customer.customer_id;
	INSERT INTO customer_groups.events (kind, customer_id) VALUES ('customer_forgotten', forget_customer.customer_id);
END
$$;
COMMENT ON FUNCTION customer_groups.forget_customer(bigint) IS
	'Erases who a customer is (name, e-mail, phone, birth date, attributes, external id) and its memberships; sales, sums and events stay. For the owner only (42501); unknown customer: 02000; null: 22004.';
-- What goes with a group that is deleted, by whatever road.

CREATE FUNCTION customer_groups.leave_group() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	-- Now, while the group's code and name can still be written into the events;
	-- customers first and in their order, as everywhere.
	PERFORM customer_groups.lock_customers(ARRAY(
		SELECT m.customer_id FROM customer_groups.members m WHERE m.group_id = OLD.id));
	DELETE FROM customer_groups.members m WHERE m.group_id = OLD.id;
	DELETE FROM customer_groups.promotion_groups a WHERE a.group_id = OLD.id;
	DELETE FROM customer_groups.group_store_pricing p WHERE p.group_id = OLD.id;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.leave_group() IS 'Trigger: members and attachments go with their group, and are written into the event log.';
CREATE TRIGGER leave_group BEFORE DELETE ON customer_groups.groups
	FOR EACH ROW EXECUTE FUNCTION customer_groups.leave_group();
-- Attaching promotions to groups, and what is said of whom promotions are open to and what they cover.

CREATE FUNCTION customer_groups.promotion_id_of(promotion_code text) RETURNS int
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	result int;
BEGIN
	IF promotion_code IS NULL THEN
		RAISE EXCEPTION 'the promotion must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the code of a promotion.';
	END IF;
	SELECT p.id INTO result FROM customer_groups.promotions p WHERE p.code = promotion_code;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown promotion'
			USING ERRCODE = '02000', DETAIL = format('There is no promotion with code "%s".', promotion_code),
				HINT = 'Insert it first, or give the code of an existing one.';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION customer_groups.promotion_id_of(text) IS 'The id of a promotion; an unknown code is 02000, a null one 22004.';

CREATE FUNCTION customer_groups.attach_promotions(group_code text, promotion_codes text[]) RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	to_group int := customer_groups.group_id_of(group_code);
	changed int;
BEGIN
	IF promotion_codes IS NULL THEN
		RAISE EXCEPTION 'the list of promotions must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the codes of the promotions.';
	END IF;
	INSERT INTO customer_groups.promotion_groups (promotion_id, group_id)
	SELECT DISTINCT customer_groups.promotion_id_of(u.code), to_group FROM unnest(promotion_codes) AS u (code)
	ORDER BY 1
	ON CONFLICT ON CONSTRAINT promotion_groups_pkey DO NOTHING;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.attach_promotions(text, text[]) IS
	'Attaches promotions to a group; how many were not yet. Says so of those that stay open to everybody because they are not groups_only. Unknown group or promotion: 02000, with nothing attached; null: 22004.';

CREATE FUNCTION customer_groups.attach_promotion(group_code text, promotion_code text) RETURNS boolean
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	RETURN customer_groups.attach_promotions(group_code, ARRAY[promotion_code]) > 0;
COMMENT ON FUNCTION customer_groups.attach_promotion(text, text) IS
	'attach_promotions() for one promotion; false when it was attached already. Errors as attach_promotions(); a null promotion is 22004.';

CREATE FUNCTION customer_groups.detach_promotions(group_code text, promotion_codes text[]) RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(group_code);
	changed int;
BEGIN
	IF promotion_codes IS NULL THEN
		RAISE EXCEPTION 'the list of promotions must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the codes of the promotions.';
	END IF;
	DELETE FROM customer_groups.promotion_groups a
	WHERE a.group_id = from_group
		AND a.promotion_id = ANY (ARRAY(SELECT customer_groups.promotion_id_of(u.code)
										FROM unnest(promotion_codes) AS u (code)));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.detach_promotions(text, text[]) IS
	'Detaches promotions from a group; how many were attached. Says so of those that are then open to nobody. Unknown group or promotion: 02000, with nothing detached; null: 22004.';

CREATE FUNCTION customer_groups.detach_promotion(group_code text, promotion_code text) RETURNS boolean
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	RETURN customer_groups.detach_promotions(group_code, ARRAY[promotion_code]) > 0;
COMMENT ON FUNCTION customer_groups.detach_promotion(text, text) IS
	'detach_promotions() for one promotion; false when it was not attached. Errors as detach_promotions(); a null promotion is 22004.';

CREATE FUNCTION customer_groups.set_group_discount(
		group_code text, kind text, value numeric, min_order_value numeric DEFAULT NULL,
		item_ids bigint[] DEFAULT NULL, category_codes text[] DEFAULT NULL, brand_codes text[] DEFAULT NULL)
	RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	to_group int := customer_groups.group_id_of(group_code);
	unknown record;
	made record;
BEGIN
	IF set_group_discount.kind IS NULL OR set_group_discount.value IS NULL THEN
		RAISE EXCEPTION 'the kind and the value of a discount must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a kind (percent, amount or fixed_price) and a value.';
	END IF;
	IF set_group_discount.kind NOT IN ('percent', 'amount', 'fixed_price') THEN
		RAISE EXCEPTION 'unknown kind of discount'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The kind is "%s".', set_group_discount.kind),
				HINT = 'The kinds are percent, amount and fixed_price.';
	END IF;
	IF NOT customer_groups.is_money(set_group_discount.value)
		OR (set_group_discount.kind = 'percent' AND set_group_discount.value > 100)
		OR NOT coalesce(customer_groups.is_money(set_group_discount.min_order_value), true)
	THEN
		RAISE EXCEPTION 'invalid discount'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('The value is %s, the least order value %s.', set_group_discount.value,
								coalesce(set_group_discount.min_order_value::text, 'null')),
				HINT = 'Per cent go from 0 to 100; money is not negative, less than 10^14, and has at most 8 decimals.';
	END IF;
	SELECT w.* INTO unknown
	FROM (SELECT 'item' AS what, u.id::text AS key, i.id AS found
		  FROM unnest(item_ids) AS u (id) LEFT JOIN customer_groups.items i ON i.id = u.id
		  UNION ALL
		  SELECT 'category', u.code, c.id
		  FROM unnest(category_codes) AS u (code) LEFT JOIN customer_groups.categories c ON c.code = u.code
		  UNION ALL
		  SELECT 'brand', u.code, b.id
		  FROM unnest(brand_codes) AS u (code) LEFT JOIN customer_groups.brands b ON b.code = u.code) w
	WHERE w.found IS NULL
	ORDER BY w.key IS NULL DESC, w.what, w.key LIMIT 1;
	IF FOUND THEN
		IF unknown.key IS NULL THEN
			RAISE EXCEPTION 'the % must not be null', unknown.what
				USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave it out of the list.';
		END IF;
		RAISE EXCEPTION 'unknown %', unknown.what
			USING ERRCODE = '02000',
				DETAIL = format(CASE unknown.what WHEN 'item' THEN 'There is no %s with id %s.'
									ELSE 'There is no %s with code "%s".' END, unknown.what, unknown.key),
				HINT = 'Insert it first, or leave it out of the list.';
	END IF;

	INSERT INTO customer_groups.promotions AS p (name, kind, value, min_order_value, groups_only)
	SELECT g.name, set_group_discount.kind, set_group_discount.value, set_group_discount.min_order_value, true
	FROM customer_groups.groups g WHERE g.id = to_group
	RETURNING p.id, p.code INTO made;
	INSERT INTO customer_groups.promotion_items (promotion_id, item_id)
	SELECT DISTINCT made.id, u.id FROM unnest(item_ids) AS u (id);
	INSERT INTO customer_groups.promotion_categories (promotion_id, category_id)
	SELECT made.id, c.id FROM customer_groups.categories c WHERE c.code = ANY (category_codes);
	INSERT INTO customer_groups.promotion_brands (promotion_id, brand_id)
	SELECT made.id, b.id FROM customer_groups.brands b WHERE b.code = ANY (brand_codes);
	INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (made.id, to_group);
	RETURN made.code;
END
$$;
COMMENT ON FUNCTION customer_groups.set_group_discount(text, text, numeric, numeric, bigint[], text[], text[]) IS
	'Makes one more promotion, for this group only and named like it, and returns its code. kind: percent, amount (off) or fixed_price; value in per cent, or in the settings'' currency per unit, as is min_order_value (null: any order). It covers the items, categories (with all below them) and brands given; null or empty lists of all three: the whole assortment. Discounts that the group had stay: of several the customer gets the best. Unknown group, item, category or brand: 02000, with nothing made; an unknown kind or invalid value: 22023; null: 22004.';

-- What is said, by whatever road it came about, once for each statement.

CREATE FUNCTION customer_groups.promotions_now(ids int[])
	RETURNS TABLE (code text, groups_only boolean, has_groups boolean, has_segments boolean, has_coverage boolean, has_stores boolean)
	AS 'MODULE_PATHNAME', 'cg_promotions_now'
	LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION customer_groups.promotions_now(int[]) IS
	'Whether promotions are for groups only, attached to any group or segment, cover certain items, categories or brands, and are for certain stores at this moment, whatever the snapshot. No row for null.';

CREATE FUNCTION customer_groups.say_of_promotions(codes text[], one text, many text, hint text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF cardinality(codes) > 0 THEN
		RAISE NOTICE '%', CASE cardinality(codes) WHEN 1 THEN format('promotion "%s" %s', codes[1], one)
							   ELSE format('%s promotions %s', cardinality(codes), many) END
			USING DETAIL = format('Codes: %s%s.', array_to_string(ARRAY(SELECT quote_ident(u.code) FROM unnest(codes[:20]) AS u (code)), ', '),
								  CASE WHEN cardinality(codes) > 20 THEN ' and more' END),
				HINT = hint;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.say_of_promotions(text[], text, text, text) IS 'Raises one NOTICE about promotions, none for an empty list or null.';

CREATE FUNCTION customer_groups.say_attached() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	ids int[];
BEGIN
	IF TG_OP = 'INSERT' THEN
		ids := ARRAY(SELECT DISTINCT n.promotion_id FROM new_rows n WHERE n.recorded_at = now());
	ELSE
		ids := ARRAY(SELECT DISTINCT x.promotion_id FROM (SELECT promotion_id, group_id FROM new_rows
					 EXCEPT SELECT promotion_id, group_id FROM old_rows) x);
	END IF;
	PERFORM customer_groups.say_of_promotions(
		ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p
			  WHERE NOT p.groups_only AND NOT p.has_segments ORDER BY p.code),
		'stays open to everybody', 'stay open to everybody',
		'Set groups_only to keep it to its groups and segments, for good.');
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.say_attached() IS 'Trigger: says of promotions attached to a group that they stay open to everybody.';
CREATE TRIGGER say_inserted AFTER INSERT ON customer_groups.promotion_groups
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_attached();
CREATE TRIGGER say_updated AFTER UPDATE ON customer_groups.promotion_groups
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_attached();

CREATE FUNCTION customer_groups.say_detached() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	ids int[] := ARRAY(SELECT DISTINCT o.promotion_id FROM old_rows o);
BEGIN
	-- As for each promotion that is deleted.
	IF ids = '{}' THEN
		RETURN NULL;
	END IF;
	IF TG_TABLE_NAME = 'promotion_stores' THEN
		PERFORM customer_groups.say_of_promotions(
			ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p WHERE NOT p.has_stores ORDER BY p.code),
			'is now for every store', 'are now for every store',
			'Name the stores that it is for, or set active = false to end it.');
		RETURN NULL;
	ELSIF TG_TABLE_NAME NOT IN ('promotion_groups', 'promotion_segments') THEN
		PERFORM customer_groups.say_of_promotions(
			ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p WHERE NOT p.has_coverage ORDER BY p.code),
			'now covers the whole assortment', 'now cover the whole assortment',
			'Name what it covers, or set active = false to end it.');
		RETURN NULL;
	ELSIF TG_TABLE_NAME = 'promotion_segments' THEN
		PERFORM customer_groups.say_of_promotions(
			ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p
				  WHERE NOT p.groups_only AND NOT p.has_segments ORDER BY p.code),
			'is now open to everybody', 'are now open to everybody',
			'Set groups_only to keep it to its groups and segments, for good, or active = false to end it.');
	END IF;
	PERFORM customer_groups.say_of_promotions(
		ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p
			  WHERE p.groups_only AND NOT p.has_groups AND NOT p.has_segments ORDER BY p.code),
		'is now open to nobody', 'are now open to nobody',
		'Attach it to a group or a segment, or set active = false.');
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.say_detached() IS
	'Trigger: says of promotions detached from their last segment that they are open to everybody, of those for groups only that are attached to nothing any more that they are open to nobody, and of those that name nothing any more that they cover the whole assortment, or are for every store.';
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{promotion_groups,promotion_segments,promotion_items,promotion_categories,promotion_brands,promotion_stores}'::pg_catalog.text[]
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER say_deleted AFTER DELETE ON customer_groups.%1$I REFERENCING OLD TABLE AS old_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_detached();
			CREATE TRIGGER say_moved AFTER UPDATE ON customer_groups.%1$I REFERENCING OLD TABLE AS old_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_detached();
			CREATE TRIGGER delete_before_truncate BEFORE TRUNCATE ON customer_groups.%1$I
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.delete_before_truncate()', name);
	END LOOP;
END
$$;
-- Recording priced sales and their refunds, safe to retry.
--
-- These functions act with the rights of their caller. They lock the customer
-- first, so that two requests with one key, or two refunds of one sale, come one
-- after another; each statement after that sees what the other one has done (or,
-- at REPEATABLE READ and above, the lock is a serialization failure).
-- With row_security off, a policy that would hide rows from them is an error
-- (42501), as it is for prices.

CREATE FUNCTION customer_groups.read_cart(lines jsonb, by_key boolean)
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric)
	AS 'MODULE_PATHNAME', 'cg_read_cart_lines'
	LANGUAGE C STABLE PARALLEL SAFE COST 100 ROWS 10;
COMMENT ON FUNCTION customer_groups.read_cart(jsonb, boolean) IS
	'The lines of a cart, checked but not priced; with by_key, "item" is an external_id. Errors as price_cart(); null lines: 22004.';

CREATE FUNCTION customer_groups.priced_lines(customer_id bigint, lines jsonb, store_id int, at timestamptz)
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric, total numeric,
				   promotion_ids int[], shares numeric[], group_ids int[])
	AS 'MODULE_PATHNAME', 'cg_priced_lines'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION customer_groups.priced_lines(bigint, jsonb, int, timestamptz) IS
	'price_cart() with what each promotion took off the line, and the group through which the customer had it (null: open to all, or for a segment), in the order of promotion_ids.';

CREATE FUNCTION customer_groups.customer_id_of(customer_external_id text) RETURNS bigint
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	result bigint;
BEGIN
	IF customer_external_id IS NULL THEN
		RAISE EXCEPTION 'the customer must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the external_id of a customer.';
	END IF;
	SELECT c.id INTO result FROM customer_groups.customers c WHERE c.external_id = customer_external_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown customer'
			USING ERRCODE = '02000', DETAIL = format('There is no customer with external_id "%s".', customer_external_id),
				HINT = 'Insert the customer first.';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION customer_groups.customer_id_of(text) IS 'The id of a customer by its external_id; an unknown one is 02000, a null one 22004.';

-- Level sell inserts lines, but only into what it has just sold.
CREATE FUNCTION customer_groups.check_lines() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	customers bigint[];
	sales bigint[];
	other record;
BEGIN
	IF pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
		RETURN NULL;
	END IF;
	SELECT array_agg(n.customer_id), array_agg(n.sale_id) INTO customers, sales
	FROM (SELECT DISTINCT r.customer_id, r.sale_id FROM new_rows r) n;
	SELECT u.customer_id, u.sale_id INTO other
	FROM unnest(customers, sales) AS u (customer_id, sale_id)
	WHERE NOT EXISTS (SELECT FROM customer_groups.sales s
					  WHERE s.customer_id = u.customer_id AND s.id = u.sale_id AND s.recorded_at = now())
	ORDER BY 1, 2 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'permission denied to add to an earlier sale'
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = format('Sale %s of customer %s was not recorded by this transaction.', other.sale_id, other.customer_id),
				HINT = 'Insert a sale and its lines in one transaction, or call record_sale().';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.check_lines() IS
	'Trigger: nobody but the owner adds lines, or promotions of lines, to a sale that the same transaction has not recorded (42501).';
CREATE TRIGGER check_lines AFTER INSERT ON customer_groups.sale_lines
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_lines();
CREATE TRIGGER check_lines AFTER INSERT ON customer_groups.sale_line_promotions
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_lines();

CREATE FUNCTION customer_groups.record_sale(
		customer_id bigint, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now(),
		external_id text DEFAULT NULL, kind customer_groups.sale_kind DEFAULT 'product', rate numeric DEFAULT NULL,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off
	AS $$
#variable_conflict use_column
DECLARE
	cart record;
	earlier record;
	difference text;
BEGIN
	IF record_sale.customer_id IS NULL OR record_sale.at IS NULL OR record_sale.kind IS NULL THEN
		RAISE EXCEPTION 'the customer, the time and the kind of a sale must not be null'
			USING ERRCODE = 'null_value_not_allowed',
				HINT = 'Insert a customer for sales to unknown persons; leave out the others to get their defaults.';
	END IF;
	IF record_sale.kind = 'refund' THEN
		RAISE EXCEPTION 'a refund is not recorded as a sale'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The kind is "refund".', HINT = 'Call record_refund().';
	END IF;
	SELECT array_agg(c.item_id ORDER BY c.line_no) AS items, array_agg(c.quantity ORDER BY c.line_no) AS quantities
	INTO cart FROM customer_groups.read_cart(record_sale.lines, false) c;
	IF cart.items IS NULL THEN
		RAISE EXCEPTION 'the cart is empty'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'There is no line in it.',
				HINT = 'Insert a sale without items into table sales.';
	END IF;
	PERFORM customer_groups.lock_customers(ARRAY[record_sale.customer_id]);

	SELECT s.id, s.store_id, s.kind, s.amount,
		ARRAY(SELECT l.item_id FROM customer_groups.sale_lines l
			  WHERE l.customer_id = s.customer_id AND l.sale_id = s.id ORDER BY l.line_no) AS items,
		ARRAY(SELECT l.quantity FROM customer_groups.sale_lines l
			  WHERE l.customer_id = s.customer_id AND l.sale_id = s.id ORDER BY l.line_no) AS quantities
	INTO earlier
	FROM customer_groups.sales s
	WHERE s.customer_id = record_sale.customer_id AND s.external_id = record_sale.external_id;
	IF FOUND THEN
		difference := CASE
			WHEN earlier.kind <> record_sale.kind THEN format('was of kind %s, this one is %s', earlier.kind, record_sale.kind)
			WHEN earlier.store_id IS DISTINCT FROM record_sale.store_id THEN
				format('was in store %s, this one is in %s', coalesce(earlier.store_id::text, 'none'), coalesce(record_sale.store_id::text, 'none'))
			WHEN cardinality(earlier.items) <> cardinality(cart.items) THEN
				format('has %s lines, this one %s', cardinality(earlier.items), cardinality(cart.items))
			ELSE (SELECT format('has in place %s: item %s, quantity %s; this one: item %s, quantity %s',
								u.place, u.item, u.quantity, u.new_item, u.new_quantity)
				  FROM unnest(earlier.items, earlier.quantities, cart.items, cart.quantities)
					WITH ORDINALITY AS u (item, quantity, new_item, new_quantity, place)
				  WHERE (u.item, u.quantity) IS DISTINCT FROM (u.new_item, u.new_quantity)
				  ORDER BY u.place LIMIT 1) END;
		IF difference IS NOT NULL THEN
			RAISE EXCEPTION 'external_id "%" was used for another cart', record_sale.external_id
				USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Sale %s %s.', earlier.id, difference),
					HINT = 'Give each sale its own external_id, and repeat a sale with the same cart.';
		END IF;
		sale_id := earlier.id;
		total := earlier.amount;
		repeated := true;
		RETURN;
	END IF;

	-- Priced once, written at once, and then booked by the triggers of sales.
	WITH priced AS MATERIALIZED (
		SELECT p.* FROM customer_groups.priced_lines(
			record_sale.customer_id, record_sale.lines, record_sale.store_id, record_sale.at) p
	), sale AS (
		INSERT INTO customer_groups.sales AS s (customer_id, store_id, kind, amount, rate, sold_at, external_id)
		SELECT record_sale.customer_id, record_sale.store_id, record_sale.kind, sum(p.total), record_sale.rate,
			record_sale.at, record_sale.external_id
		FROM priced p
		RETURNING s.id, s.amount
	), written AS (
		INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount, total)
		SELECT record_sale.customer_id, s.id, p.line_no, p.item_id, p.quantity, p.list_price, p.discount, p.total
		FROM priced p CROSS JOIN sale s
	), promoted AS (
		INSERT INTO customer_groups.sale_line_promotions (customer_id, sale_id, line_no, promotion_id, discount, group_id)
		SELECT record_sale.customer_id, s.id, p.line_no, u.promotion_id, u.share, u.group_id
		FROM priced p CROSS JOIN sale s
		CROSS JOIN LATERAL unnest(p.promotion_ids, p.shares, p.group_ids) AS u (promotion_id, share, group_id)
	)
	SELECT s.id, s.amount, false INTO record_sale.sale_id, record_sale.total, record_sale.repeated FROM sale s;
END
$$;
COMMENT ON FUNCTION customer_groups.record_sale(bigint, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric) IS
	'Prices a cart as price_cart() does and records it: the sale, its lines and each promotion''s share of them. lines: [{"item": 7, "quantity": 2}, …]; total: what is paid, in the store''s currency. Safe to retry with an external_id: the same cart (store, kind, items and quantities in order, never prices or times) gives the first sale with repeated true, another cart is 22023. rate: what one unit of the store''s currency is in the settings'', required where they differ (23514). Errors as price_cart(), and nothing is left behind; an empty cart, or kind refund: 22023; a null customer, time or kind: 22004.';

CREATE FUNCTION customer_groups.record_sale_by_key(
		customer_external_id text, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now(),
		external_id text DEFAULT NULL, kind customer_groups.sale_kind DEFAULT 'product', rate numeric DEFAULT NULL,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT r.sale_id, r.total, r.repeated
		FROM customer_groups.record_sale(
			customer_groups.customer_id_of(customer_external_id),
			(SELECT coalesce(jsonb_agg(jsonb_build_object('item', c.item_id, 'quantity', c.quantity) ORDER BY c.line_no), '[]')
			 FROM customer_groups.read_cart(lines, true) c),
			store_id, at, external_id, kind, rate) r;
	END;
COMMENT ON FUNCTION customer_groups.record_sale_by_key(text, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric) IS
	'record_sale() with the customer''s and the items'' external_id: [{"item": "sku-7", "quantity": 2}, …]. Errors as record_sale(); an unknown item is 02000.';

CREATE FUNCTION customer_groups.add_member_by_key(customer_external_id text, group_code text, valid_until date DEFAULT NULL)
	RETURNS boolean
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	RETURN customer_groups.add_member(customer_groups.customer_id_of(customer_external_id), group_code, valid_until);
COMMENT ON FUNCTION customer_groups.add_member_by_key(text, text, date) IS 'add_member() with the customer''s external_id. Errors as add_member().';
-- Refunds: what is left of a sale, and giving it back in whole or in exact parts.

CREATE FUNCTION customer_groups.part_of(amount numeric, part numeric, whole numeric, digits int) RETURNS numeric
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN part >= whole THEN amount
		-- Whole numbers: the division is exact.
		ELSE least(amount, round(div(2 * amount * 10 ^ digits::numeric * part + whole, 2 * whole) / 10 ^ digits::numeric, digits)) END;
COMMENT ON FUNCTION customer_groups.part_of(numeric, numeric, numeric, int) IS
	'amount × part / whole, rounded half up to a number of digits; the amount itself for the whole. Grows with part, so that the differences between growing parts add up exactly. Null for a null argument.';

CREATE VIEW customer_groups.line_refunds WITH (security_invoker) AS
	SELECT s.customer_id, coalesce(s.refund_of, s.id) AS sale_id, l.line_no,
		min(l.item_id) FILTER (WHERE s.refund_of IS NULL) AS item_id,
		min(l.unit_price) FILTER (WHERE s.refund_of IS NULL) AS unit_price,
		min(c.digits) FILTER (WHERE s.refund_of IS NULL) AS digits,
		coalesce(sum(l.quantity) FILTER (WHERE s.refund_of IS NULL), 0) AS quantity,
		coalesce(sum(l.discount) FILTER (WHERE s.refund_of IS NULL), 0) AS discount,
		coalesce(sum(c.total) FILTER (WHERE s.refund_of IS NULL), 0) AS total,
		coalesce(sum(l.quantity) FILTER (WHERE s.refund_of IS NOT NULL), 0) AS refunded_quantity,
		coalesce(sum(l.discount) FILTER (WHERE s.refund_of IS NOT NULL), 0) AS refunded_discount,
		coalesce(sum(c.total) FILTER (WHERE s.refund_of IS NOT NULL), 0) AS refunded_total
	FROM customer_groups.sales s
	JOIN customer_groups.sale_lines l ON l.customer_id = s.customer_id AND l.sale_id = s.id
	LEFT JOIN customer_groups.stores t ON t.id = s.store_id
	CROSS JOIN LATERAL (SELECT customer_groups.currency_digits(coalesce(t.currency, (SELECT customer_groups.settings_currency()))) AS digits) d
	CROSS JOIN LATERAL (SELECT d.digits, coalesce(l.total, greatest(round(l.quantity * l.unit_price, d.digits) - l.discount, 0)) AS total) c
	WHERE s.kind <> 'refund' OR s.refund_of IS NOT NULL
	GROUP BY s.customer_id, coalesce(s.refund_of, s.id), l.line_no;
COMMENT ON VIEW customer_groups.line_refunds IS
	'Each line of each sale, with what refunds of that sale (sales.refund_of, by line number) have given back of its quantity, discount and total so far; money in the store''s currency.';
COMMENT ON COLUMN customer_groups.line_refunds.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.line_refunds.sale_id IS 'Sale that the line was sold in.';
COMMENT ON COLUMN customer_groups.line_refunds.line_no IS 'Line.';
COMMENT ON COLUMN customer_groups.line_refunds.item_id IS 'Item.';
COMMENT ON COLUMN customer_groups.line_refunds.unit_price IS 'List price of a unit.';
COMMENT ON COLUMN customer_groups.line_refunds.digits IS 'Digits after the decimal point of the currency''s minor unit.';
COMMENT ON COLUMN customer_groups.line_refunds.quantity IS 'Quantity sold.';
COMMENT ON COLUMN customer_groups.line_refunds.discount IS 'What was taken off the line.';
COMMENT ON COLUMN customer_groups.line_refunds.total IS 'What was paid for it.';
COMMENT ON COLUMN customer_groups.line_refunds.refunded_quantity IS 'Quantity given back so far.';
COMMENT ON COLUMN customer_groups.line_refunds.refunded_discount IS 'Discount that went with it.';
COMMENT ON COLUMN customer_groups.line_refunds.refunded_total IS 'Money given back so far, not negative.';

CREATE FUNCTION customer_groups.refund_sale(
		customer_id bigint, refunded_id bigint, lines jsonb, at timestamptz, external_id text,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off
	AS $$
#variable_conflict use_column
DECLARE
	items bigint[];
	quantities numeric[];
	sold record;
	earlier record;
	excess record;
	left_money numeric;
	refunds bigint[];
BEGIN
	IF refund_sale.customer_id IS NULL OR refund_sale.refunded_id IS NULL OR refund_sale.at IS NULL THEN
		RAISE EXCEPTION 'the customer, the sale and the time of a refund must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id of the sale that is refunded; leave out the time for now.';
	END IF;
	IF NOT isfinite(refund_sale.at) THEN
		RAISE EXCEPTION 'invalid time'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The time is %s.', refund_sale.at), HINT = 'Give a finite time.';
	END IF;
	IF refund_sale.lines IS NOT NULL THEN
		SELECT array_agg(c.item_id ORDER BY c.item_id), array_agg(c.quantity ORDER BY c.item_id) INTO items, quantities
		FROM (SELECT r.item_id, sum(r.quantity) AS quantity
			  FROM customer_groups.read_cart(refund_sale.lines, false) r GROUP BY r.item_id) c;
		IF items IS NULL THEN
			RAISE EXCEPTION 'there is nothing to refund'
				USING ERRCODE = 'invalid_parameter_value', DETAIL = 'There is no line.', HINT = 'Give null for all that is left.';
		END IF;
	END IF;
	PERFORM customer_groups.check_customers(ARRAY[refund_sale.customer_id]);
	PERFORM customer_groups.lock_customers(ARRAY[refund_sale.customer_id]);

	SELECT s.id, s.refund_of, s.amount INTO earlier
	FROM customer_groups.sales s
	WHERE s.customer_id = refund_sale.customer_id AND s.external_id = refund_sale.external_id;
	IF FOUND THEN
		IF earlier.refund_of IS DISTINCT FROM refund_sale.refunded_id
			OR NOT customer_groups.is_same_refund(refund_sale.customer_id, refund_sale.refunded_id, earlier.id, items, quantities)
		THEN
			RAISE EXCEPTION 'external_id "%" was used for something else', refund_sale.external_id
				USING ERRCODE = 'invalid_parameter_value',
					DETAIL = CASE WHEN earlier.refund_of IS NULL THEN format('Sale %s with it is no refund.', earlier.id)
								  WHEN earlier.refund_of <> refund_sale.refunded_id THEN format('Refund %s with it is of sale %s.', earlier.id, earlier.refund_of)
								  ELSE format('Refund %s with it is of other items or quantities.', earlier.id) END,
					HINT = 'Give each refund its own external_id, and repeat a refund with the same lines.';
		END IF;
		sale_id := earlier.id;
		total := earlier.amount;
		repeated := true;
		RETURN;
	END IF;

	SELECT s.* INTO sold FROM customer_groups.sales s
	WHERE s.customer_id = refund_sale.customer_id AND s.id = refund_sale.refunded_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown sale'
			USING ERRCODE = '02000', DETAIL = format('Customer %s has no sale with id %s.', refund_sale.customer_id, refund_sale.refunded_id),
				HINT = 'Give the sale_id that record_sale() returned.';
	END IF;
	IF sold.kind = 'refund' THEN
		RAISE EXCEPTION 'a refund cannot be refunded'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Sale %s is a refund.', sold.id),
				HINT = 'Record a new sale.';
	END IF;
	SELECT sold.amount + coalesce(sum(r.amount), 0), coalesce(array_agg(r.id), '{}') INTO left_money, refunds
	FROM customer_groups.sales r
	WHERE r.customer_id = sold.customer_id AND r.refund_of = sold.id;

	-- Never more than was sold.
	SELECT w.item_id, w.quantity, coalesce(sum(v.quantity), 0) AS sold, coalesce(sum(v.refunded_quantity), 0) AS refunded INTO excess
	FROM unnest(items, quantities) AS w (item_id, quantity)
	LEFT JOIN customer_groups.line_refunds v
		ON v.customer_id = sold.customer_id AND v.sale_id = sold.id AND v.item_id = w.item_id
	GROUP BY w.item_id, w.quantity
	HAVING w.quantity > coalesce(sum(greatest(v.quantity - v.refunded_quantity, 0)), 0)
	ORDER BY w.item_id LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'more would be refunded than was sold'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Of item %s, sale %s has %s, of which %s were refunded; %s are asked for.', excess.item_id, sold.id,
								trim_scale(excess.sold), trim_scale(excess.refunded), trim_scale(excess.quantity)),
				HINT = 'Leave out the lines to refund all that is left.';
	END IF;
	IF items IS NULL AND left_money <= 0
		AND NOT EXISTS (SELECT FROM customer_groups.line_refunds v
						WHERE v.customer_id = sold.customer_id AND v.sale_id = sold.id AND v.refunded_quantity < v.quantity)
	THEN
		RAISE EXCEPTION 'nothing is left to refund'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Sale %s of %s was refunded completely.', sold.id, sold.amount),
				HINT = 'Repeat a refund with its external_id to get the first one.';
	END IF;

	-- Of an item on several lines, the first ones first. What a line, its discount or a share of it has been refunded
	-- afterwards is the part that belongs to the quantity; the refund is the difference to what it had been before.
	WITH line AS MATERIALIZED (
		SELECT v.*, a.taken, v.refunded_quantity + a.taken AS part
		FROM (SELECT x.*, greatest(x.quantity - x.refunded_quantity, 0) AS rest,
				coalesce(sum(greatest(x.quantity - x.refunded_quantity, 0)) OVER (
					PARTITION BY x.item_id ORDER BY x.line_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
			  FROM customer_groups.line_refunds x
			  WHERE x.customer_id = sold.customer_id AND x.sale_id = sold.id) v
		CROSS JOIN LATERAL (
			SELECT CASE WHEN items IS NULL THEN v.rest
					ELSE least(v.rest, coalesce(quantities[array_position(items, v.item_id)], 0) - v.before) END AS taken) a
		WHERE a.taken > 0
	), back AS MATERIALIZED (
		SELECT l.*, greatest(customer_groups.part_of(l.total, l.part, l.quantity, l.digits) - l.refunded_total, 0) AS back_total,
			-- What no promotion gave is refunded in parts as well.
			coalesce(s.amount, 0) + greatest(
				customer_groups.part_of(greatest(l.discount - coalesce(s.discount, 0), 0), l.part, l.quantity, l.digits)
					- (l.refunded_discount - coalesce(s.refunded, 0)), 0) AS back_discount,
			s.promotion_ids, s.amounts, s.group_ids
		FROM line l
		CROSS JOIN LATERAL (
			SELECT sum(a.amount) AS amount, sum(p.discount) AS discount, sum(b.refunded) AS refunded,
				array_agg(p.promotion_id) AS promotion_ids, array_agg(a.amount) AS amounts, array_agg(p.group_id) AS group_ids
			FROM customer_groups.sale_line_promotions p
			CROSS JOIN LATERAL (
				SELECT coalesce(sum(x.discount), 0) AS refunded FROM customer_groups.sale_line_promotions x
				WHERE x.customer_id = sold.customer_id AND x.sale_id = ANY (refunds) AND x.line_no = l.line_no
					AND x.promotion_id = p.promotion_id) b
			CROSS JOIN LATERAL (
				SELECT greatest(customer_groups.part_of(p.discount, l.part, l.quantity, l.digits) - b.refunded, 0) AS amount) a
			WHERE p.customer_id = sold.customer_id AND p.sale_id = sold.id AND p.line_no = l.line_no) s
	), refund AS (
		INSERT INTO customer_groups.sales AS s (customer_id, store_id, kind, amount, rate, sold_at, external_id, refund_of)
		SELECT sold.customer_id, sold.store_id, 'refund',
			- CASE WHEN items IS NULL THEN left_money ELSE (SELECT sum(b.back_total) FROM back b) END,
			sold.rate, refund_sale.at, refund_sale.external_id, sold.id
		RETURNING s.id, s.amount
	), written AS (
		INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount, total)
		SELECT sold.customer_id, r.id, b.line_no, b.item_id, b.taken, b.unit_price, b.back_discount, b.back_total
		FROM back b CROSS JOIN refund r
	), promoted AS (
		INSERT INTO customer_groups.sale_line_promotions (customer_id, sale_id, line_no, promotion_id, discount, group_id)
		SELECT sold.customer_id, r.id, b.line_no, u.promotion_id, u.amount, u.group_id
		FROM back b CROSS JOIN refund r
		CROSS JOIN LATERAL unnest(b.promotion_ids, b.amounts, b.group_ids) AS u (promotion_id, amount, group_id)
	)
	SELECT r.id, r.amount, false INTO refund_sale.sale_id, refund_sale.total, refund_sale.repeated FROM refund r;
	IF refund_sale.total < - left_money THEN
		RAISE EXCEPTION 'more would be refunded than was paid'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Of sale %s, %s is left to refund, and the lines come to %s.', sold.id, left_money, - refund_sale.total),
				HINT = 'Leave out the lines to refund all that is left, or insert the refund with its amount into table sales.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.refund_sale(bigint, bigint, jsonb, timestamptz, text) IS 'The work of record_refund(); errors as record_refund().';

CREATE FUNCTION customer_groups.is_same_refund(customer_id bigint, refunded_id bigint, refund_id bigint, items bigint[], quantities numeric[])
	RETURNS boolean
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT CASE WHEN items IS NOT NULL THEN
			NOT EXISTS (
				SELECT FROM (SELECT l.item_id, sum(l.quantity) AS quantity FROM customer_groups.sale_lines l
							 WHERE l.customer_id = is_same_refund.customer_id AND l.sale_id = refund_id
							 GROUP BY l.item_id) b
				FULL JOIN unnest(items, quantities) AS w (item_id, quantity) ON w.item_id = b.item_id
				WHERE w.quantity IS DISTINCT FROM b.quantity)
		ELSE
			-- All that was left: after it, nothing was.
			NOT EXISTS (
				SELECT FROM customer_groups.sales s
				JOIN customer_groups.sale_lines l ON l.customer_id = s.customer_id AND l.sale_id = s.id
				WHERE s.customer_id = is_same_refund.customer_id
					AND (s.id = refunded_id OR (s.refund_of = refunded_id AND s.id <= refund_id))
				GROUP BY l.line_no HAVING sum(CASE s.id WHEN refunded_id THEN l.quantity ELSE - l.quantity END) > 0)
			AND (SELECT sum(s.amount) <= 0 FROM customer_groups.sales s
				 WHERE s.customer_id = is_same_refund.customer_id
					AND (s.id = refunded_id OR (s.refund_of = refunded_id AND s.id <= refund_id)))
		END;
	END;
COMMENT ON FUNCTION customer_groups.is_same_refund(bigint, bigint, bigint, bigint[], numeric[]) IS
	'Whether a refund took back these quantities of these items; with null items, all that was left of the sale.';

CREATE FUNCTION customer_groups.record_refund(
		customer_id bigint, sale_id bigint, lines jsonb DEFAULT NULL, at timestamptz DEFAULT now(), external_id text DEFAULT NULL,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT r.sale_id, r.total, r.repeated
		FROM customer_groups.refund_sale(customer_id, sale_id, lines, at, external_id) r;
	END;
COMMENT ON FUNCTION customer_groups.record_refund(bigint, bigint, jsonb, timestamptz, text) IS
	'Records a refund of a sale and returns it: its id and its amount, which is 0 or less, in the store''s currency and at the rate of the sale. lines: [{"item": 7, "quantity": 2}, …], of an item on several lines the first ones first; null: all that is left. A part gives back its share of what was paid, to the minor unit, so that all parts together give back exactly that. Never more than was sold, counting earlier refunds of the sale (22023), which is also raised when nothing is left, for a sale that is a refund, and for no line. Safe to retry with an external_id, as record_sale(): the same sale and quantities give the first refund with repeated true, others are 22023. An unknown customer or sale is 02000, a null one, or a null time, 22004.';
-- What promotions were used for, exactly as it was recorded with the sales.

CREATE VIEW customer_groups.promotion_use WITH (security_invoker) AS
	SELECT p.id AS promotion_id, p.code AS promotion_code, u.day, u.group_id, g.code AS group_code,
		u.sales, u.units, u.discount, u.net_sales
	FROM (SELECT a.promotion_id, a.group_id,
				(s.sold_at AT TIME ZONE coalesce(t.timezone, (SELECT customer_groups.settings_timezone())))::date AS day,
				count(DISTINCT (s.customer_id, s.id)) FILTER (WHERE s.kind <> 'refund') AS sales,
				sum(CASE s.kind WHEN 'refund' THEN - l.quantity ELSE l.quantity END) AS units,
				sum(CASE s.kind WHEN 'refund' THEN - a.discount ELSE a.discount END * coalesce(s.rate, 1)) AS discount,
				sum(CASE s.kind WHEN 'refund' THEN -1 ELSE 1 END * coalesce(s.rate, 1)
					* coalesce(l.total, greatest(round(l.quantity * l.unit_price,
						customer_groups.currency_digits(coalesce(t.currency, (SELECT customer_groups.settings_currency())))) - l.discount, 0))) AS net_sales
		  FROM customer_groups.sale_line_promotions a
		  JOIN customer_groups.sale_lines l USING (customer_id, sale_id, line_no)
		  JOIN customer_groups.sales s ON s.customer_id = a.customer_id AND s.id = a.sale_id
		  LEFT JOIN customer_groups.stores t ON t.id = s.store_id
		  GROUP BY a.promotion_id, a.group_id, 3) u
	JOIN customer_groups.promotions p ON p.id = u.promotion_id
	LEFT JOIN customer_groups.groups g ON g.id = u.group_id;
COMMENT ON VIEW customer_groups.promotion_use IS
	'The use of each promotion by day and group, from what was recorded with the sales: a sum over rows is the use over these days and groups. Refunds are taken off on their own day. What several promotions share (units and net sales of a line, a sale) counts for each of them.';
COMMENT ON COLUMN customer_groups.promotion_use.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_use.promotion_code IS 'Its present code.';
COMMENT ON COLUMN customer_groups.promotion_use.day IS 'Day of the sale or refund, in the store''s time zone, the settings'' without a store.';
COMMENT ON COLUMN customer_groups.promotion_use.group_id IS 'The group through which the customers had it then (of several the lowest id); null: it was open to all, or for a segment.';
COMMENT ON COLUMN customer_groups.promotion_use.group_code IS 'The group''s present code; null as well when it was deleted.';
COMMENT ON COLUMN customer_groups.promotion_use.sales IS 'Number of sales in which it took something off; refunds are not counted.';
COMMENT ON COLUMN customer_groups.promotion_use.units IS 'Quantity of the lines on which it did, less what was given back.';
COMMENT ON COLUMN customer_groups.promotion_use.discount IS 'What it took off, less what was given back, in the settings'' currency at the sales'' rates.';
COMMENT ON COLUMN customer_groups.promotion_use.net_sales IS 'What was paid for these lines, less what was given back, in the settings'' currency at the sales'' rates.';
-- Where customers stand on their ladders, and the review that moves them.

CREATE FUNCTION customer_groups.tier_of(customer_id bigint, ladder text DEFAULT 'default') RETURNS text
	AS 'MODULE_PATHNAME', 'cg_tier_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION customer_groups.tier_of(bigint, text) IS
	'The code of the tier of the ladder that the customer holds today, in the settings'' time zone; null when none: a tier out of its dates, or whose membership is not valid, is none. A null customer is an anonymous one: null. An unknown customer or ladder is 02000, a null ladder 22004, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.tier_progress(customer_id bigint, ladder text DEFAULT 'default', at timestamptz DEFAULT now(),
		OUT tier text, OUT measure numeric, OUT next_tier text, OUT next_threshold numeric, OUT remaining numeric)
	AS 'MODULE_PATHNAME', 'cg_tier_progress'
	LANGUAGE C STABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION customer_groups.tier_progress(bigint, text, timestamptz) IS
	'Where a customer stands on a ladder on the day of at: the tier held (null: none), what the ladder measures (net sales in the settings'' currency, or visits; of the window that ends with that day where the ladder has a period, else of the whole time), and the next higher tier, its threshold and what remains to it, at least 0; these three are null at the top. A ladder without tiers, and a null customer, give nulls. An unknown customer or ladder is 02000, a null ladder or time 22004, an infinite time 22023, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.window_end(first date, period interval) RETURNS date
	AS 'MODULE_PATHNAME', 'cg_window_end'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.window_end(date, interval) IS
	'The last day D whose window, the days d with D - period < d <= D, has the given day in it; null for null.';

CREATE FUNCTION customer_groups.review_tiers(ladder text, dry_run boolean DEFAULT false, at timestamptz DEFAULT now())
	RETURNS TABLE (customer_id bigint, from_tier text, to_tier text)
	AS 'MODULE_PATHNAME', 'cg_review_tiers'
	LANGUAGE C VOLATILE COST 100000 ROWS 1000;
COMMENT ON FUNCTION customer_groups.review_tiers(text, boolean, timestamptz) IS
	'Brings all customers of a ladder to the tier in effect that they have earned on the day of at, in the settings'' time zone, and returns who moved, by customer; from_tier and to_tier are null for none. Up at once; down only on a ladder with downgrade ''at_review'', only from a tier of source ''tier'', and only when the grace is over, which begins at the end of the last day whose window, over the present sales, reached the threshold, else when the membership was added. Customers with skip_auto_upgrade stay where they are. Waits for bookings in progress on these customers. With dry_run the same rows are returned, and nothing is written, locked or waited for. An unknown ladder is 02000, a null argument 22004, an infinite time 22023, a caller without the rights 42501; at REPEATABLE READ and above, a customer to be moved who was booked meanwhile is 40001. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';
-- Groups, segments and promotions at a glance: one row for each, as of now.

CREATE VIEW customer_groups.group_summary WITH (security_invoker) AS
	SELECT g.id AS group_id, g.code AS group_code, g.name,
		coalesce(m.members, 0) AS members, coalesce(m.active_members, 0) AS active_members,
		coalesce(m.net_sales, 0) AS net_sales, coalesce(u.discount, 0) AS discount
	FROM customer_groups.groups g
	LEFT JOIN (SELECT v.group_id, count(*) AS members,
					count(*) FILTER (WHERE (f.last_visit_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date
						BETWEEN (SELECT customer_groups.shop_today()) - 90 AND (SELECT customer_groups.shop_today())) AS active_members,
					sum(f.net_sales) AS net_sales
			   FROM customer_groups.valid_members v
			   JOIN customer_groups.customer_facts f ON f.customer_id = v.customer_id
			   GROUP BY v.group_id) m ON m.group_id = g.id
	LEFT JOIN (SELECT p.group_id, sum(p.discount) AS discount
			   FROM customer_groups.promotion_use p
			   GROUP BY p.group_id) u ON u.group_id = g.id;
COMMENT ON VIEW customer_groups.group_summary IS
	'Each group as of today, in the settings'' time zone. A customer of several groups counts in each of them.';
COMMENT ON COLUMN customer_groups.group_summary.group_id IS 'Group.';
COMMENT ON COLUMN customer_groups.group_summary.group_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.group_summary.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.group_summary.members IS 'Customers whose membership is valid today, whatever the group''s own dates are.';
COMMENT ON COLUMN customer_groups.group_summary.active_members IS 'Those of them whose last visit was today or within the 90 days before.';
COMMENT ON COLUMN customer_groups.group_summary.net_sales IS 'Net sales of the whole time of the present members, in the settings'' currency.';
COMMENT ON COLUMN customer_groups.group_summary.discount IS 'What promotions took off for customers who had them through this group, members or not any more, less what was given back, in the settings'' currency.';

CREATE VIEW customer_groups.segment_summary WITH (security_invoker) AS
	SELECT s.id AS segment_id, s.code, s.name, s.color, s.position, s.tracked, z.size,
		round(z.size::numeric / nullif((SELECT count(*) FROM customer_groups.customer_facts), 0), 6) AS share
	FROM customer_groups.segment_sizes() z
	JOIN customer_groups.segments s ON s.code = z.code;
COMMENT ON VIEW customer_groups.segment_summary IS
	'Each segment, tracked or not, by its rule as of now. Entries and exits of each day: segment_changes. Fails as segment_sizes() does.';
COMMENT ON COLUMN customer_groups.segment_summary.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_summary.code IS 'Its code.';
COMMENT ON COLUMN customer_groups.segment_summary.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.segment_summary.color IS 'Its color, #rrggbb.';
COMMENT ON COLUMN customer_groups.segment_summary.position IS 'Its place among the segments.';
COMMENT ON COLUMN customer_groups.segment_summary.tracked IS 'Whether its members are stored, with events.';
COMMENT ON COLUMN customer_groups.segment_summary.size IS 'Number of customers in it.';
COMMENT ON COLUMN customer_groups.segment_summary.share IS 'Their share of all customers, from 0 to 1, rounded to 6 decimals; null when there is no customer.';

-- Customers with the same set of segments are counted first: the sets are few, the pairs of all customers are not.
CREATE VIEW customer_groups.segment_overlaps WITH (security_invoker) AS
	WITH sets AS MATERIALIZED (
		SELECT c.segment_ids, count(*) AS customers
		FROM (SELECT array_agg(s.id) AS segment_ids
			  FROM (SELECT id, code FROM customer_groups.segments ORDER BY id) s
			  CROSS JOIN LATERAL customer_groups.segment_customers(s.code) AS m (customer_id)
			  GROUP BY m.customer_id) c
		GROUP BY c.segment_ids
	)
	SELECT a.id AS segment_id, a.code, b.id AS other_segment_id, b.code AS other_code,
		coalesce(o.customers, 0)::bigint AS customers,
		round(o.customers / nullif(sum(o.customers) FILTER (WHERE a.id = b.id) OVER (PARTITION BY a.id), 0), 6) AS share
	FROM customer_groups.segments a
	CROSS JOIN customer_groups.segments b
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(t.customers), 0) AS customers FROM sets t
		WHERE a.id = ANY (t.segment_ids) AND b.id = ANY (t.segment_ids)) o;
COMMENT ON VIEW customer_groups.segment_overlaps IS
	'How many customers are in both of two segments, as of now: a row for each ordered pair, a segment with itself included. Fails as segment_customers() does.';
COMMENT ON COLUMN customer_groups.segment_overlaps.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_overlaps.code IS 'Its code.';
COMMENT ON COLUMN customer_groups.segment_overlaps.other_segment_id IS 'The other segment.';
COMMENT ON COLUMN customer_groups.segment_overlaps.other_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.segment_overlaps.customers IS 'Number of customers in both.';
COMMENT ON COLUMN customer_groups.segment_overlaps.share IS 'Their share of the first segment, from 0 to 1, rounded to 6 decimals; null when that is empty.';

CREATE VIEW customer_groups.promotion_summary WITH (security_invoker) AS
	SELECT p.id AS promotion_id, p.code AS promotion_code, p.name,
		coalesce(u.sales, 0)::bigint AS sales, coalesce(u.units, 0) AS units,
		coalesce(u.discount, 0) AS discount, coalesce(u.net_sales, 0) AS net_sales,
		round(coalesce(u.net_sales, 0) / nullif((SELECT sum(f.net_sales) FROM customer_groups.customer_facts f), 0), 6) AS share
	FROM customer_groups.promotions p
	LEFT JOIN (SELECT d.promotion_id, sum(d.sales) AS sales, sum(d.units) AS units,
					sum(d.discount) AS discount, sum(d.net_sales) AS net_sales
			   FROM customer_groups.promotion_use d
			   GROUP BY d.promotion_id) u ON u.promotion_id = p.id;
COMMENT ON VIEW customer_groups.promotion_summary IS
	'The use of each promotion over the whole time; by day and group: promotion_use. What several promotions share counts for each of them, so that shares may sum to more than 1.';
COMMENT ON COLUMN customer_groups.promotion_summary.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_summary.promotion_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.promotion_summary.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.promotion_summary.sales IS 'Number of sales in which it took something off; refunds are not counted. One in which a customer had it through several groups counts for each.';
COMMENT ON COLUMN customer_groups.promotion_summary.units IS 'Quantity of the lines on which it did, less what was given back.';
COMMENT ON COLUMN customer_groups.promotion_summary.discount IS 'What it took off, less what was given back, in the settings'' currency at the sales'' rates.';
COMMENT ON COLUMN customer_groups.promotion_summary.net_sales IS 'What was paid for these lines, less what was given back, in the settings'' currency at the sales'' rates.';
COMMENT ON COLUMN customer_groups.promotion_summary.share IS 'These net sales as a share of all net sales, those without lines included, rounded to 6 decimals; null when these sum to 0.';
-- Reports on customers and their sales: by day, by recency, frequency and money, and by month of registration.

CREATE VIEW customer_groups.sales_by_day WITH (security_invoker) AS
	SELECT d.day, d.store_id, t.code AS store_code, d.kind, d.sales, d.net_sales
	FROM (SELECT (s.sold_at AT TIME ZONE coalesce(t.timezone, (SELECT customer_groups.settings_timezone())))::date AS day,
			s.store_id, s.kind, count(*) AS sales, sum(s.amount * coalesce(s.rate, 1)) AS net_sales
		  FROM customer_groups.sales s
		  LEFT JOIN customer_groups.stores t ON t.id = s.store_id
		  GROUP BY 1, 2, 3) d
	LEFT JOIN customer_groups.stores t ON t.id = d.store_id;
COMMENT ON VIEW customer_groups.sales_by_day IS
	'Sales by day, store and kind; a sum over rows is that of these days, stores and kinds.';
COMMENT ON COLUMN customer_groups.sales_by_day.day IS 'Day of the sale in the store''s time zone, the settings'' without a store.';
COMMENT ON COLUMN customer_groups.sales_by_day.store_id IS 'Store; null: sales without one.';
COMMENT ON COLUMN customer_groups.sales_by_day.store_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.sales_by_day.kind IS 'Kind of the sales.';
COMMENT ON COLUMN customer_groups.sales_by_day.sales IS 'Number of sales; of kind product, these are the visits.';
COMMENT ON COLUMN customer_groups.sales_by_day.net_sales IS 'Sum of amount × rate, in the settings'' currency; that of refunds is not above 0.';

-- Equal values get equal scores, which ntile() would deal out by chance: a score
-- follows from the share of customers who visited later, or who have a lower value.
CREATE VIEW customer_groups.customer_rfm WITH (security_invoker) AS
	SELECT s.customer_id, s.days_since_visit, s.visits, s.net_sales, s.recency, s.frequency, s.monetary,
		CASE
			WHEN s.recency <= 2 AND s.frequency <= 2 THEN 'hibernating'
			WHEN s.recency <= 2 AND s.frequency <= 4 THEN 'at_risk'
			WHEN s.recency <= 2 THEN 'cannot_lose'
			WHEN s.recency = 3 AND s.frequency <= 2 THEN 'about_to_sleep'
			WHEN s.recency = 3 AND s.frequency = 3 THEN 'need_attention'
			WHEN s.recency <= 4 AND s.frequency >= 4 THEN 'loyal'
			WHEN s.frequency >= 4 THEN 'champions'
			WHEN s.frequency >= 2 THEN 'potential_loyalists'
			WHEN s.recency = 4 THEN 'promising'
			ELSE 'new_customers'
		END AS cell
	FROM (SELECT f.customer_id, (SELECT customer_groups.shop_today()) - f.last_visit_on AS days_since_visit,
				f.visits, f.net_sales,
				5 - (5 * (rank() OVER (ORDER BY f.last_visit_on DESC) - 1) / count(*) OVER ())::int AS recency,
				1 + (5 * (rank() OVER (ORDER BY f.visits) - 1) / count(*) OVER ())::int AS frequency,
				1 + (5 * (rank() OVER (ORDER BY f.net_sales) - 1) / count(*) OVER ())::int AS monetary
		  FROM (SELECT v.customer_id, v.visits, v.net_sales,
					(v.last_visit_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date AS last_visit_on
				FROM customer_groups.customer_facts v
				WHERE v.visits > 0) f) s;
COMMENT ON VIEW customer_groups.customer_rfm IS
	'Recency, frequency and monetary value of each customer with a visit, scored from 1 (low) to 5 by fifths of them. Equal values have equal scores, so that the fifths may differ in size: who visited last always has the recency 5, who has the lowest value the frequency or monetary 1.';
COMMENT ON COLUMN customer_groups.customer_rfm.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.customer_rfm.days_since_visit IS 'Days from the last visit to today, in the settings'' time zone; negative for a visit to come.';
COMMENT ON COLUMN customer_groups.customer_rfm.visits IS 'Number of visits.';
COMMENT ON COLUMN customer_groups.customer_rfm.net_sales IS 'Net sales of the whole time, in the settings'' currency.';
COMMENT ON COLUMN customer_groups.customer_rfm.recency IS 'Score of the day of the last visit: 5 for the latest.';
COMMENT ON COLUMN customer_groups.customer_rfm.frequency IS 'Score of the visits: 5 for the most.';
COMMENT ON COLUMN customer_groups.customer_rfm.monetary IS 'Score of the net sales: 5 for the most.';
COMMENT ON COLUMN customer_groups.customer_rfm.cell IS 'Usual name of the cell of recency R and frequency F. champions: R 5, F 4-5; loyal: R 3-4, F 4-5; potential_loyalists: R 4-5, F 2-3; new_customers: R 5, F 1; promising: R 4, F 1; need_attention: R 3, F 3; about_to_sleep: R 3, F 1-2; cannot_lose: R 1-2, F 5; at_risk: R 1-2, F 3-4; hibernating: R 1-2, F 1-2.';

CREATE VIEW customer_groups.rfm_cells WITH (security_invoker) AS
	SELECT r.cell, count(*) AS customers, round(count(*) / sum(count(*)) OVER (), 6) AS share, sum(r.net_sales) AS net_sales
	FROM customer_groups.customer_rfm r
	GROUP BY r.cell;
COMMENT ON VIEW customer_groups.rfm_cells IS 'The cells of customer_rfm that have customers.';
COMMENT ON COLUMN customer_groups.rfm_cells.cell IS 'Cell, as in customer_rfm.';
COMMENT ON COLUMN customer_groups.rfm_cells.customers IS 'Number of customers in it.';
COMMENT ON COLUMN customer_groups.rfm_cells.share IS 'Their share of the customers with a visit, from 0 to 1, rounded to 6 decimals.';
COMMENT ON COLUMN customer_groups.rfm_cells.net_sales IS 'Their net sales of the whole time, in the settings'' currency.';

CREATE VIEW customer_groups.cohorts WITH (security_invoker) AS
	WITH registered AS MATERIALIZED (
		SELECT f.customer_id,
			date_trunc('month', f.registered_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date AS cohort
		FROM customer_groups.customer_facts f
	), sizes AS MATERIALIZED (
		SELECT r.cohort, count(*) AS customers FROM registered r GROUP BY r.cohort
	), sold AS MATERIALIZED (
		SELECT r.cohort, m.month, count(*) FILTER (WHERE m.visits > 0) AS active_customers, sum(m.net_sales) AS net_sales
		FROM (SELECT s.customer_id,
					date_trunc('month', s.sold_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date AS month,
					count(*) FILTER (WHERE s.kind = 'product') AS visits, sum(s.amount * coalesce(s.rate, 1)) AS net_sales
			  FROM customer_groups.sales s
			  GROUP BY 1, 2) m
		JOIN registered r ON r.customer_id = m.customer_id
		GROUP BY r.cohort, m.month
	)
	SELECT cohort, k.month,
		(12 * (date_part('year', k.month) - date_part('year', cohort))
			+ date_part('month', k.month) - date_part('month', cohort))::int AS age,
		z.customers, coalesce(s.active_customers, 0) AS active_customers,
		round(coalesce(s.active_customers, 0)::numeric / z.customers, 6) AS share, coalesce(s.net_sales, 0) AS net_sales
	FROM (SELECT cohort, cohort AS month FROM sizes
		  UNION
		  SELECT cohort, month FROM sold) k
	JOIN sizes z USING (cohort)
	LEFT JOIN sold s USING (cohort, month);
COMMENT ON VIEW customer_groups.cohorts IS
	'Customers by the month in which they registered: a row for that month and for each month in which they had sales. Months are those of the settings'' time zone.';
COMMENT ON COLUMN customer_groups.cohorts.cohort IS 'First day of the month of registration.';
COMMENT ON COLUMN customer_groups.cohorts.month IS 'First day of the month that the row is about.';
COMMENT ON COLUMN customer_groups.cohorts.age IS 'Months from the one to the other: 0 for the month of registration, negative for sales before it.';
COMMENT ON COLUMN customer_groups.cohorts.customers IS 'Number of customers who registered in the cohort''s month.';
COMMENT ON COLUMN customer_groups.cohorts.active_customers IS 'Those of them with a visit in the month.';
COMMENT ON COLUMN customer_groups.cohorts.share IS 'Their share of the cohort, from 0 to 1, rounded to 6 decimals.';
COMMENT ON COLUMN customer_groups.cohorts.net_sales IS 'Net sales of the cohort in the month, in the settings'' currency.';
-- What is written into the event log by changes of the definitions, and how it is cut.

-- Trigger log_change(subject, key column): one event for each row that changed,
-- with the values before and after. Who looks after a group is personal data and
-- stays out.
CREATE FUNCTION customer_groups.log_change() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	hidden text[] := '{recorded_at,contact_name,contact_info,description}';
	restored bigint := 0;
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO customer_groups.events (kind, group_id, promotion_id, detail)
		SELECT TG_ARGV[0] || '_added', (r.new ->> TG_ARGV[1])::int, (r.new ->> TG_ARGV[2])::int,
			customer_groups.name_subject(r.new - hidden)
		FROM (SELECT to_jsonb(n) AS new, n.recorded_at FROM new_rows n) r
		WHERE r.recorded_at = now();
		SELECT count(*) INTO restored FROM new_rows n WHERE n.recorded_at <> now();
	ELSIF TG_OP = 'UPDATE' THEN
		INSERT INTO customer_groups.events (kind, group_id, promotion_id, detail)
		SELECT TG_ARGV[0] || '_changed', (r.new ->> TG_ARGV[1])::int, (r.new ->> TG_ARGV[2])::int,
			customer_groups.name_subject(r.new - hidden)
				|| jsonb_build_object('before',
					(SELECT coalesce(jsonb_object_agg(f.key, f.value), '{}') FROM jsonb_each(r.old - hidden) f
					 WHERE r.new -> f.key IS DISTINCT FROM f.value))
		FROM (SELECT o.row AS old, n.row AS new
			  FROM (SELECT to_jsonb(x) AS row, row_number() OVER () AS place FROM old_rows x) o
			  JOIN (SELECT to_jsonb(x) AS row, row_number() OVER () AS place FROM new_rows x) n USING (place)) r
		WHERE r.old IS DISTINCT FROM r.new;
	ELSE
		INSERT INTO customer_groups.events (kind, group_id, promotion_id, detail)
		SELECT TG_ARGV[0] || '_removed', (r.old ->> TG_ARGV[1])::int, (r.old ->> TG_ARGV[2])::int,
			customer_groups.name_subject(r.old - hidden)
		FROM (SELECT to_jsonb(o) AS old FROM old_rows o) r;
	END IF;
	IF restored > 0 THEN
		RAISE WARNING '%', CASE restored WHEN 1 THEN format('1 row of table %s was recorded before and is taken as it is', TG_TABLE_NAME)
								ELSE format('%s rows of table %s were recorded before and are taken as they are', restored, TG_TABLE_NAME) END
			USING DETAIL = 'Their recorded_at is not the time of this transaction, as in a restore: no events follow from them.',
				HINT = 'Leave recorded_at to its default for new rows.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.log_change() IS 'Trigger (subject, column of the group, column of the promotion): writes the changes of a statement into the event log.';

CREATE FUNCTION customer_groups.name_subject(row_value jsonb) RETURNS jsonb
	LANGUAGE sql STABLE
	RETURN row_value
		|| CASE WHEN row_value ? 'group_id' THEN coalesce(
				(SELECT jsonb_build_object('group_code', g.code, 'group_name', g.name)
				 FROM customer_groups.groups g WHERE g.id = (row_value ->> 'group_id')::int), '{}') ELSE '{}' END
		|| CASE WHEN row_value ? 'promotion_id' THEN coalesce(
				(SELECT jsonb_build_object('promotion_code', p.code, 'promotion_name', p.name)
				 FROM customer_groups.promotions p WHERE p.id = (row_value ->> 'promotion_id')::int), '{}') ELSE '{}' END
		|| CASE WHEN row_value ? 'store_id' THEN coalesce(
				(SELECT jsonb_build_object('store_code', s.code)
				 FROM customer_groups.stores s WHERE s.id = (row_value ->> 'store_id')::int), '{}') ELSE '{}' END;
COMMENT ON FUNCTION customer_groups.name_subject(jsonb) IS 'A row of an attachment with the codes and names of what it attaches; null for null.';

-- Before the row itself, so that its code can still be written into the events.
CREATE FUNCTION customer_groups.delete_attachments() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	EXECUTE format('DELETE FROM customer_groups.%I WHERE %I = $1', TG_ARGV[0], TG_ARGV[1]) USING OLD.id;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.delete_attachments() IS
	'Trigger (table, column): what is attached to groups goes with its row, and is written into the event log with its code.';
CREATE TRIGGER delete_attachments BEFORE DELETE ON customer_groups.promotions
	FOR EACH ROW EXECUTE FUNCTION customer_groups.delete_attachments('promotion_groups', 'promotion_id');
CREATE TRIGGER delete_attachments BEFORE DELETE ON customer_groups.stores
	FOR EACH ROW EXECUTE FUNCTION customer_groups.delete_attachments('group_store_pricing', 'store_id');

DO $$
DECLARE
	source record;
BEGIN
	FOR source IN
		SELECT * FROM (VALUES
			('groups', 'group', 'id', ''),
			('group_store_pricing', 'store_pricing', 'group_id', ''),
			('promotion_groups', 'attachment', 'group_id', 'promotion_id')
		) AS s (name, subject, group_key, promotion_key)
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER log_insert AFTER INSERT ON customer_groups.%1$I REFERENCING NEW TABLE AS new_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.log_change(%2$L, %3$L, %4$L);
			CREATE TRIGGER log_update AFTER UPDATE ON customer_groups.%1$I
				REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.log_change(%2$L, %3$L, %4$L);
			CREATE TRIGGER log_delete AFTER DELETE ON customer_groups.%1$I REFERENCING OLD TABLE AS old_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.log_change(%2$L, %3$L, %4$L)',
			source.name, source.subject, source.group_key, source.promotion_key);
	END LOOP;
END
$$;
-- Attachments have it already; TRUNCATE of groups is one of members too, which is refused.
CREATE TRIGGER delete_before_truncate BEFORE TRUNCATE ON customer_groups.group_store_pricing
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.delete_before_truncate();

CREATE FUNCTION customer_groups.purge_events(before timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	purged bigint;
BEGIN
	PERFORM customer_groups.check_owner();
	IF before IS NULL THEN
		RAISE EXCEPTION 'the time must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a time that is not in the future.';
	END IF;
	IF NOT isfinite(before) OR before > now() THEN
		RAISE EXCEPTION 'invalid time'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Events before %s cannot be purged.', before),
				HINT = 'Give a time that is not in the future.';
	END IF;
	-- Nobody writes events meanwhile, and the refusal comes back with the transaction.
	LOCK TABLE customer_groups.events IN SHARE ROW EXCLUSIVE MODE;
	ALTER TABLE customer_groups.events DISABLE TRIGGER refuse_change;
	-- What a replay from then on needs stays: all of a membership that was not over,
	-- the last move on each ladder, and the entry into a segment that was not left.
	WITH lives AS (
		SELECT v.id, v.at, v.kind, v.customer_id, v.group_id,
			count(*) FILTER (WHERE v.kind = 'member_added')
				OVER (PARTITION BY v.customer_id, v.group_id ORDER BY v.id) AS life
		FROM customer_groups.events v
		WHERE v.kind IN ('member_added', 'member_changed', 'member_removed')
	), ends AS (
		SELECT l.customer_id, l.group_id, l.life,
			coalesce(min(l.at) FILTER (WHERE l.kind = 'member_removed'),
					 lead(min(l.at)) OVER (PARTITION BY l.customer_id, l.group_id ORDER BY l.life)) AS ended_at
		FROM lives l GROUP BY l.customer_id, l.group_id, l.life
	), moves AS (
		SELECT max(v.id) AS id FROM customer_groups.events v
		WHERE v.kind IN ('tier_upgraded', 'tier_downgraded', 'tier_changed') GROUP BY v.customer_id, v.detail ->> 'ladder'
	), stays AS (
		SELECT v.id, v.kind, lead(v.at) OVER w AS ended_at
		FROM customer_groups.events v
		WHERE v.kind IN ('segment_entered', 'segment_left')
		WINDOW w AS (PARTITION BY v.customer_id, v.segment_id ORDER BY v.id)
	), kept AS (
		SELECT l.id FROM lives l JOIN ends e USING (customer_id, group_id, life)
		WHERE e.ended_at IS NULL OR e.ended_at >= purge_events.before
		UNION ALL SELECT m.id FROM moves m
		UNION ALL SELECT s.id FROM stays s
		WHERE s.kind = 'segment_entered' AND (s.ended_at IS NULL OR s.ended_at >= purge_events.before)
	)
	DELETE FROM customer_groups.events v
	WHERE v.at < purge_events.before AND v.kind <> 'events_purged'
		AND NOT EXISTS (SELECT FROM kept k WHERE k.id = v.id);
	GET DIAGNOSTICS purged = ROW_COUNT;
	ALTER TABLE customer_groups.events ENABLE TRIGGER refuse_change;
	INSERT INTO customer_groups.events (kind, detail)
	VALUES ('events_purged', jsonb_build_object('before', before, 'purged', purged));
	RETURN purged;
END
$$;
COMMENT ON FUNCTION customer_groups.purge_events(timestamptz) IS
	'Deletes the events before a time, but for those that the present and the later past follow from, and returns how many. groups_of and members_of then answer from that time on. For the owner (42501); an infinite or future time is 22023, a null one 22004. Changes of memberships wait meanwhile.';
-- Access levels: what roles may do, given as ordinary privileges.
--
-- A level is a set of privileges on tables and functions; which levels a role
-- holds is itself a privilege, on a column of access_marks, so that a dump, a
-- renamed role and a dropped one need no care.

CREATE VIEW customer_groups.access_marks AS
	SELECT false AS "view", false AS members, false AS edit, false AS sell;
COMMENT ON VIEW customer_groups.access_marks IS 'The right to read a column marks a role that holds the level of that name; see access_levels.';
COMMENT ON COLUMN customer_groups.access_marks."view" IS 'Read by who holds the level view.';
COMMENT ON COLUMN customer_groups.access_marks.members IS 'Read by who holds the level members.';
COMMENT ON COLUMN customer_groups.access_marks.edit IS 'Read by who holds the level edit.';
COMMENT ON COLUMN customer_groups.access_marks.sell IS 'Read by who holds the level sell.';

-- What each level gives beyond those that it includes: a table with the
-- privileges on it and, where not the whole table, the columns; or a function.
CREATE FUNCTION customer_groups.level_grants(level text)
	RETURNS TABLE (object text, privileges text, columns text)
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		-- view: reads everything but the settings.
		SELECT format('%I.%I', n.nspname, c.relname), 'SELECT', NULL::text
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		WHERE level = 'view' AND e.extname = 'customer_groups' AND c.relkind IN ('r', 'v')
			AND c.relname NOT IN ('settings', 'access_marks', 'cache_stamps')
		UNION ALL
		SELECT 'customer_groups.' || t.name, t.privileges, NULL
		FROM (VALUES
			('members', 'customers', 'UPDATE'),
			('members', 'members', 'UPDATE, DELETE'),
			('edit', 'customers', 'DELETE'),
			('edit', 'groups', 'UPDATE, DELETE'),
			('edit', 'group_store_pricing', 'UPDATE, DELETE'),
			('edit', 'ladders', 'INSERT, UPDATE, DELETE'),
			('edit', 'stores', 'INSERT, UPDATE, DELETE'),
			('edit', 'brands', 'INSERT, UPDATE, DELETE'),
			('edit', 'categories', 'INSERT, UPDATE, DELETE'),
			('edit', 'items', 'INSERT, UPDATE, DELETE'),
			('edit', 'item_categories', 'UPDATE, DELETE'),
			('edit', 'store_prices', 'INSERT, UPDATE, DELETE'),
			('edit', 'segments', 'UPDATE, DELETE'),
			('edit', 'promotions', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_items', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_categories', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_brands', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_stores', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_groups', 'UPDATE, DELETE'),
			('edit', 'promotion_segments', 'INSERT, UPDATE, DELETE'),
			('sell', 'sale_line_promotions', 'INSERT')
		) AS t (level, name, privileges)
		WHERE t.level = level_grants.level
		UNION ALL
		-- recorded_at is for restores: these are inserted into without it.
		SELECT 'customer_groups.' || t.name, 'INSERT',
			(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
			 FROM pg_attribute a
			 WHERE a.attrelid = ('customer_groups.' || t.name)::regclass AND a.attnum > 0
				AND NOT a.attisdropped AND a.attname <> 'recorded_at')
		FROM (VALUES
			('members', 'customers'),
			('members', 'members'),
			('edit', 'groups'),
			('edit', 'group_store_pricing'),
			('edit', 'item_categories'),
			('edit', 'segments'),
			('edit', 'promotion_groups'),
			('sell', 'sales'),
			('sell', 'sale_lines')
		) AS t (level, name)
		WHERE t.level = level_grants.level
		UNION ALL
		SELECT 'ROUTINE customer_groups.' || f.signature, 'EXECUTE', NULL
		FROM (VALUES
			('view', 'effective_discount(bigint, bigint, int, numeric, numeric, timestamptz)'),
			('view', 'effective_price(bigint, bigint, int, numeric, numeric, timestamptz)'),
			('view', 'effective_discounts(bigint, bigint[], int, timestamptz)'),
			('view', 'explain_discount(bigint, bigint, int, numeric, numeric, timestamptz)'),
			('view', 'price_cart(bigint, jsonb, int, timestamptz)'),
			('view', 'effective_discount_by_key(text, text, int, numeric, numeric, timestamptz)'),
			('view', 'effective_price_by_key(text, text, int, numeric, numeric, timestamptz)'),
			('view', 'effective_discounts_by_key(text, text[], int, timestamptz)'),
			('view', 'price_cart_by_key(text, jsonb, int, timestamptz)'),
			('view', 'segments_of_by_key(text, timestamptz)'),
			('view', 'groups_of(bigint, timestamptz)'),
			('view', 'members_of(text, timestamptz)'),
			('view', 'find_groups(text)'),
			('view', 'search_customers(text)'),
			('view', 'segments_of(bigint, timestamptz)'),
			('view', 'labels_of(bigint[], timestamptz)'),
			('view', 'in_segment(bigint, text, timestamptz)'),
			('view', 'matches(bigint, customer_groups.segment_rule, timestamptz)'),
			('view', 'segment_sql(text, timestamptz)'),
			('view', 'segment_customers(text, timestamptz)'),
			('view', 'rule_customers(customer_groups.segment_rule, timestamptz)'),
			('view', 'segment_size(text, timestamptz)'),
			('view', 'segment_sizes(timestamptz)'),
			('view', 'segment_overlap(text, text, timestamptz)'),
			('view', 'preview_segment(customer_groups.segment_rule, timestamptz)'),
			('view', 'preview_change(text, customer_groups.segment_rule, timestamptz)'),
			('view', 'group_id_of(text)'),
			('view', 'check_customers(bigint[])'),
			('view', 'check_horizon(timestamptz)'),
			('view', 'customer_id_of(text)'),
			('view', 'tier_of(bigint, text)'),
			('view', 'tier_progress(bigint, text, timestamptz)'),
			('view', 'rule_names(customer_groups.segment_rule)'),
			('members', 'lock_customers(bigint[])'),
			('members', 'add_member_by_key(text, text, date)'),
			('members', 'add_member(bigint, text, date)'),
			('members', 'remove_member(bigint, text)'),
			('members', 'set_groups(bigint, text[])'),
			('members', 'enroll(bigint, text[])'),
			('members', 'may_enroll_many()'),
			('edit', 'report_progress(text, bigint, bigint)'),
			('edit', 'add_members(text, bigint[])'),
			('edit', 'remove_members(text, bigint[])'),
			('edit', 'move_members(bigint[], text, text)'),
			('edit', 'add_members_by_email(text, text)'),
			('edit', 'set_store_pricing(text, int, boolean)'),
			('edit', 'delete_group(text)'),
			('edit', 'load_default_segments(text, numeric)'),
			('edit', 'advance_segments(timestamptz)'),
			('edit', 'fill_segments(int)'),
			('edit', 'promotion_id_of(text)'),
			('edit', 'attach_promotion(text, text)'),
			('edit', 'attach_promotions(text, text[])'),
			('edit', 'detach_promotion(text, text)'),
			('edit', 'detach_promotions(text, text[])'),
			('edit', 'set_group_discount(text, text, numeric, numeric, bigint[], text[], text[])'),
			('sell', 'lock_customers(bigint[])'),
			('sell', 'read_cart(jsonb, boolean)'),
			('sell', 'priced_lines(bigint, jsonb, int, timestamptz)'),
			('sell', 'part_of(numeric, numeric, numeric, int)'),
			('sell', 'record_sale(bigint, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric)'),
			('sell', 'record_sale_by_key(text, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric)'),
			('sell', 'refund_sale(bigint, bigint, jsonb, timestamptz, text)'),
			('sell', 'is_same_refund(bigint, bigint, bigint, bigint[], numeric[])'),
			('edit', 'review_tiers(text, boolean, timestamptz)'),
			('sell', 'record_refund(bigint, bigint, jsonb, timestamptz, text)')
		) AS f (level, signature)
		WHERE f.level = level_grants.level;
	END;
COMMENT ON FUNCTION customer_groups.level_grants(text) IS
	'What an access level gives beyond the levels it includes: tables with privileges and columns (null: all), and functions.';

CREATE FUNCTION customer_groups.included_levels(level text) RETURNS text[]
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF level IS NULL THEN
		RAISE EXCEPTION 'the level must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'The levels are view, members, edit and sell.';
	END IF;
	CASE level
		WHEN 'view' THEN RETURN '{view}';
		WHEN 'members' THEN RETURN '{view,members}';
		WHEN 'edit' THEN RETURN '{view,members,edit}';
		WHEN 'sell' THEN RETURN '{view,sell}';
		ELSE
			RAISE EXCEPTION 'unknown access level'
				USING ERRCODE = 'invalid_parameter_value',
					DETAIL = format('There is no level "%s".', level),
					HINT = 'The levels are view, members, edit and sell.';
	END CASE;
END
$$;
COMMENT ON FUNCTION customer_groups.included_levels(text) IS 'An access level and those that it includes; an unknown one is 22023, a null one 22004.';

CREATE FUNCTION customer_groups.check_owner() RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NOT (SELECT pg_has_role(current_user, c.relowner, 'USAGE') FROM pg_class c
			WHERE c.oid = 'customer_groups.settings'::regclass)
	THEN
		RAISE EXCEPTION 'permission denied'
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = format('Role "%s" does not own the extension''s tables.', current_user),
				HINT = 'Ask their owner.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_owner() IS 'Raises 42501 unless the current user has the rights of the tables'' owner.';

CREATE FUNCTION customer_groups.check_role(role regrole) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'the role must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give an existing role.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
		RAISE EXCEPTION 'unknown role'
			USING ERRCODE = 'undefined_object', DETAIL = format('There is no role "%s".', role),
				HINT = 'Give an existing role.';
	END IF;
	-- To revoke a level from the owner would take its own rights away.
	IF role = (SELECT c.relowner FROM pg_class c WHERE c.oid = 'customer_groups.settings'::regclass) THEN
		RAISE EXCEPTION 'the owner needs no access level'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Role %s owns the extension''s tables and may do everything.', role),
				HINT = 'Give another role.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_role(regrole) IS 'Raises 42704 for an unknown role, 22004 for a null one and 22023 for the tables'' owner.';

CREATE VIEW customer_groups.access_levels WITH (security_invoker) AS
	SELECT x.grantee::regrole AS role, a.attname::text AS level
	FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x
	WHERE a.attrelid = 'customer_groups.access_marks'::regclass AND a.attnum > 0 AND x.privilege_type = 'SELECT';
COMMENT ON VIEW customer_groups.access_levels IS 'The access levels that roles hold: view, members, edit, sell.';
COMMENT ON COLUMN customer_groups.access_levels.role IS 'Role.';
COMMENT ON COLUMN customer_groups.access_levels.level IS 'Level that it holds; levels that this one includes have no row.';

-- Grants to or revokes from a role what a level gives.
CREATE FUNCTION customer_groups.apply_level(role regrole, level text, give boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	part record;
BEGIN
	FOR part IN SELECT g.* FROM customer_groups.level_grants(level) g LOOP
		EXECUTE format('%s %s%s ON %s %s %s', CASE WHEN give THEN 'GRANT' ELSE 'REVOKE' END,
					   part.privileges, CASE WHEN part.columns IS NULL THEN '' ELSE format(' (%s)', part.columns) END,
					   part.object, CASE WHEN give THEN 'TO' ELSE 'FROM' END, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION customer_groups.apply_level(regrole, text, boolean) IS 'Grants or revokes the privileges of one level, without those that it includes; nothing for a null level.';

CREATE FUNCTION customer_groups.grant_access(role regrole, level text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	levels text[] := customer_groups.included_levels(level);
BEGIN
	PERFORM customer_groups.check_owner();
	PERFORM customer_groups.check_role(role);
	EXECUTE format('GRANT USAGE ON SCHEMA customer_groups TO %s', role);
	PERFORM customer_groups.apply_level(role, u.level, true) FROM unnest(levels) AS u (level);
	EXECUTE format('GRANT SELECT (%I) ON customer_groups.access_marks TO %s', level, role);
END
$$;
COMMENT ON FUNCTION customer_groups.grant_access(regrole, text) IS
	'Gives a role an access level beside those that it holds. view: reads everything but the settings; members: view, and customers and memberships one customer at a time; edit: members, and groups, bulk changes, deleting, promotions, segments, ladders, reviews, catalog and prices; sell: view, and inserts sales. For the owner (42501); an unknown level, or the owner as the role, is 22023, an unknown role 42704, a null role or level 22004.';

CREATE FUNCTION customer_groups.revoke_access(role regrole, level text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	taken text[];
	kept text[];
	kept_parts text[];
BEGIN
	PERFORM customer_groups.check_owner();
	PERFORM customer_groups.check_role(role);
	IF level IS NOT NULL THEN
		PERFORM customer_groups.included_levels(level);
	END IF;
	taken := ARRAY(SELECT a.level FROM customer_groups.access_levels a
				   WHERE a.role = revoke_access.role AND a.level = coalesce(revoke_access.level, a.level));
	kept := ARRAY(SELECT a.level FROM customer_groups.access_levels a
				  WHERE a.role = revoke_access.role AND a.level <> ALL (taken));
	kept_parts := ARRAY(SELECT DISTINCT i.part FROM unnest(kept) AS k (level),
						unnest(customer_groups.included_levels(k.level)) AS i (part));
	-- What a level that stays includes is given again: privileges on one table may come from several.
	PERFORM customer_groups.apply_level(role, i.part, false)
	FROM (SELECT DISTINCT p.part FROM unnest(taken) AS t (level),
		  unnest(customer_groups.included_levels(t.level)) AS p (part)) i;
	PERFORM customer_groups.apply_level(role, u.part, true) FROM unnest(kept_parts) AS u (part);
	FOR i IN 1 .. cardinality(taken) LOOP
		EXECUTE format('REVOKE SELECT (%I) ON customer_groups.access_marks FROM %s', taken[i], role);
	END LOOP;
	IF kept = '{}' AND taken <> '{}' THEN
		EXECUTE format('REVOKE USAGE ON SCHEMA customer_groups FROM %s', role);
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.revoke_access(regrole, text) IS
	'Takes an access level, or all with null, from a role; what other levels of the role give stays. For the owner (42501); an unknown level, or the owner as the role, is 22023, an unknown role 42704, a null one 22004; a level that the role does not hold is not an error.';
-- Reports on tiers.

CREATE VIEW customer_groups.tier_distribution WITH (security_invoker) AS
	WITH tiers AS MATERIALIZED (
		SELECT g.id, coalesce(g.ladder, 'default') AS ladder, g.code, g.upgrade_threshold
		FROM customer_groups.groups g
		WHERE g.upgrade_threshold IS NOT NULL AND g.starts_on <= customer_groups.shop_today()
			AND coalesce(g.ends_on >= customer_groups.shop_today(), true)
	), held AS MATERIALIZED (
		SELECT v.group_id, count(*) AS customers, sum(f.net_sales) AS net_sales
		FROM customer_groups.valid_members v
		JOIN tiers t ON t.id = v.group_id
		JOIN customer_groups.customer_facts f ON f.customer_id = v.customer_id
		GROUP BY v.group_id
	), everybody AS MATERIALIZED (
		SELECT count(*) AS customers, coalesce(sum(f.net_sales), 0) AS net_sales
		FROM customer_groups.customer_facts f
	), rows AS (
		SELECT t.ladder, t.code, t.upgrade_threshold, coalesce(h.customers, 0) AS customers,
			coalesce(h.net_sales, 0) AS net_sales
		FROM tiers t LEFT JOIN held h ON h.group_id = t.id
		UNION ALL
		SELECT t.ladder, NULL, NULL, e.customers - coalesce(sum(h.customers), 0)::bigint,
			e.net_sales - coalesce(sum(h.net_sales), 0)
		FROM tiers t LEFT JOIN held h ON h.group_id = t.id CROSS JOIN everybody e
		GROUP BY t.ladder, e.customers, e.net_sales
	)
	SELECT r.ladder, r.code AS tier, r.customers, r.customers::numeric / nullif(e.customers, 0) AS share, r.net_sales
	FROM rows r CROSS JOIN everybody e
	ORDER BY r.ladder, r.upgrade_threshold DESC NULLS LAST, r.code;
COMMENT ON VIEW customer_groups.tier_distribution IS
	'For each ladder and each of its tiers in effect today (settings'' time zone), the highest first: how many customers hold it, their share of all customers (from 0 to 1; null when there are none), and their net sales of the whole time, in the settings'' currency. The row with a null tier is those who hold none.';
COMMENT ON COLUMN customer_groups.tier_distribution.ladder IS 'Ladder.';
COMMENT ON COLUMN customer_groups.tier_distribution.tier IS 'Code of a tier; null: those who hold none.';
COMMENT ON COLUMN customer_groups.tier_distribution.customers IS 'Number of customers who hold it.';
COMMENT ON COLUMN customer_groups.tier_distribution.share IS 'Their share of all customers, from 0 to 1; null when there are none.';
COMMENT ON COLUMN customer_groups.tier_distribution.net_sales IS 'Their net sales of the whole time, in the settings'' currency.';
-- The slow and obvious recomputation of everything that is derived.

-- Without JIT: what the planner expects of the recursion over rules would have all of it compiled, for seconds.
CREATE FUNCTION customer_groups.check_integrity()
	RETURNS TABLE (problem text, customer_id bigint, detail text)
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
	AS $$
	-- Facts are what the sales and the record say.
	SELECT 'facts differ from the sales', r.customer_id,
		format('stored %s, computed %s',
			   to_jsonb(f) - 'customer_id', to_jsonb(r) - 'customer_id')
	FROM customer_groups.recomputed_facts r
	LEFT JOIN customer_groups.customer_facts f ON f.customer_id = r.customer_id
	WHERE f.customer_id IS NULL
		OR (f.visits, f.net_sales, f.refunds, f.prepaid_purchases, f.pass_purchases, f.no_shows,
			f.first_visit_at, f.last_visit_at, f.registered_at, f.birth_date, f.skip_auto_upgrade)
		IS DISTINCT FROM
			(r.visits, r.net_sales, r.refunds, r.prepaid_purchases, r.pass_purchases, r.no_shows,
			 r.first_visit_at, r.last_visit_at, r.registered_at, r.birth_date, r.skip_auto_upgrade)
	UNION ALL
	SELECT 'facts without a customer', f.customer_id, NULL
	FROM customer_groups.customer_facts f
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = f.customer_id)

	-- A rate is there just where the currency is not the settings'.
	UNION ALL
	SELECT 'rate does not fit the currency', s.customer_id,
		format('sale %s in %s has rate %s', s.id, coalesce(t.currency, settings.currency), s.rate)
	FROM customer_groups.sales s
	CROSS JOIN (SELECT customer_groups.settings_currency() AS currency) settings
	LEFT JOIN customer_groups.stores t ON t.id = s.store_id
	WHERE CASE WHEN coalesce(t.currency, settings.currency) = settings.currency
			   THEN coalesce(s.rate, 1) <> 1 ELSE s.rate IS NULL END

	-- What refers to another row finds it.
	UNION ALL
	SELECT 'sale without a customer', s.customer_id, format('sale %s', s.id)
	FROM customer_groups.sales s
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = s.customer_id)
	UNION ALL
	SELECT 'sale in an unknown store', s.customer_id, format('sale %s, store %s', s.id, s.store_id)
	FROM customer_groups.sales s
	WHERE s.store_id IS NOT NULL
		AND NOT EXISTS (SELECT FROM customer_groups.stores t WHERE t.id = s.store_id)
	UNION ALL
	SELECT 'member without a customer or a group', m.customer_id, format('group %s', m.group_id)
	FROM customer_groups.members m
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = m.customer_id)
		OR NOT EXISTS (SELECT FROM customer_groups.groups g WHERE g.id = m.group_id)

	-- A refund is of a sale, and gives back no more than that was.
	UNION ALL
	SELECT 'refund of what is no sale', r.customer_id, format('refund %s of sale %s', r.id, r.refund_of)
	FROM customer_groups.sales r
	WHERE r.refund_of IS NOT NULL
		AND NOT EXISTS (SELECT FROM customer_groups.sales s
						WHERE s.customer_id = r.customer_id AND s.id = r.refund_of AND s.kind <> 'refund')
	UNION ALL
	SELECT 'more refunded than was paid', s.customer_id, format('sale %s of %s, refunds %s', s.id, s.amount, sum(r.amount))
	FROM customer_groups.sales r
	JOIN customer_groups.sales s ON s.customer_id = r.customer_id AND s.id = r.refund_of
	GROUP BY s.customer_id, s.id HAVING s.amount + sum(r.amount) < 0
	UNION ALL
	SELECT 'more of a line refunded than was sold', v.customer_id,
		format('sale %s, line %s: quantity %s of %s, discount %s of %s, total %s of %s', v.sale_id, v.line_no,
			   v.refunded_quantity, v.quantity, v.refunded_discount, v.discount, v.refunded_total, v.total)
	FROM customer_groups.line_refunds v
	WHERE v.refunded_quantity > v.quantity OR v.refunded_discount > v.discount OR v.refunded_total > v.total
	UNION ALL
	SELECT 'refund of a line that was not sold', r.customer_id,
		format('refund %s of sale %s, line %s, item %s', r.id, r.refund_of, x.line_no, x.item_id)
	FROM customer_groups.sales r
	JOIN customer_groups.sale_lines x ON x.customer_id = r.customer_id AND x.sale_id = r.id
	WHERE r.refund_of IS NOT NULL
		AND NOT EXISTS (SELECT FROM customer_groups.sale_lines l
						WHERE l.customer_id = r.customer_id AND l.sale_id = r.refund_of
							AND l.line_no = x.line_no AND l.item_id = x.item_id)

	-- One tier of a ladder at most.
	UNION ALL
	SELECT 'two tiers of one ladder', m.customer_id,
		format('ladder %s: %s', coalesce(g.ladder, 'default'), string_agg(g.code, ', ' ORDER BY g.id))
	FROM customer_groups.members m
	JOIN customer_groups.groups g ON g.id = m.group_id AND g.upgrade_threshold IS NOT NULL
	GROUP BY m.customer_id, coalesce(g.ladder, 'default')
	HAVING count(*) > 1

	-- The last event of each membership tells whether and how it is now.
	UNION ALL
	SELECT 'membership differs from its events', coalesce(e.customer_id, m.customer_id),
		format('group %s: stored %s, last event %s %s', coalesce(e.group_id, m.group_id),
			   CASE WHEN m.customer_id IS NULL THEN 'none' ELSE
				   jsonb_build_object('source', m.source, 'valid_from', m.valid_from,
									  'valid_until', m.valid_until)::text END,
			   coalesce(e.kind, 'none'), e.detail)
	FROM (SELECT DISTINCT ON (v.customer_id, v.group_id)
				v.customer_id, v.group_id, v.kind, v.detail
		  FROM customer_groups.events v
		  WHERE v.kind IN ('member_added', 'member_changed', 'member_removed')
		  ORDER BY v.customer_id, v.group_id, v.id DESC) e
	FULL JOIN customer_groups.members m
		ON m.customer_id = e.customer_id AND m.group_id = e.group_id
	WHERE CASE WHEN m.customer_id IS NULL THEN e.kind <> 'member_removed'
			   ELSE e.kind IS NULL OR e.kind = 'member_removed'
				   OR e.detail ->> 'source' IS DISTINCT FROM m.source
				   OR (e.detail ->> 'valid_from')::date IS DISTINCT FROM m.valid_from
				   OR (e.detail ->> 'valid_until')::date IS DISTINCT FROM m.valid_until END

	-- So it does of who added the member, and when: told where it is not who wrote the event, and just before.
	UNION ALL
	SELECT 'membership differs from its events', m.customer_id,
		format('group %s: stored added at %s by %s, in the events at %s by %s', m.group_id,
			   m.added_at, m.added_by, h.added_at, h.added_by)
	FROM customer_groups.members m
	JOIN customer_groups.member_history h
		ON h.customer_id = m.customer_id AND h.group_id = m.group_id AND h.ended_at IS NULL
	WHERE m.added_by <> h.added_by OR m.added_at > h.added_at
		OR (m.added_at < h.added_at AND h.added_at <> h.began_at)

	-- The last move on each ladder tells which tier it is now.
	UNION ALL
	SELECT 'tier differs from its events', coalesce(e.customer_id, t.customer_id),
		format('ladder %s: stored %s, last event to %s', coalesce(e.ladder, t.ladder),
			   coalesce(t.group_id::text, 'none'), coalesce(e.group_id::text, 'none'))
	FROM (SELECT DISTINCT ON (v.customer_id, v.detail ->> 'ladder')
				v.customer_id, v.detail ->> 'ladder' AS ladder, v.group_id
		  FROM customer_groups.events v
		  WHERE v.kind IN ('tier_upgraded', 'tier_downgraded', 'tier_changed')
		  ORDER BY v.customer_id, v.detail ->> 'ladder', v.id DESC) e
	FULL JOIN (SELECT m.customer_id, coalesce(g.ladder, 'default') AS ladder, m.group_id
			   FROM customer_groups.members m
			   JOIN customer_groups.groups g ON g.id = m.group_id
			   WHERE g.upgrade_threshold IS NOT NULL) t
		ON t.customer_id = e.customer_id AND t.ladder = e.ladder
	WHERE e.group_id IS DISTINCT FROM t.group_id

	-- Each move on a ladder starts where the one before it ended; purged ones are not missed.
	UNION ALL
	SELECT 'tier differs from its events', e.customer_id,
		format('ladder %s: event %s moves from %s, event %s moved to %s', e.ladder, e.id,
			   coalesce(e.from_id, 'none'), e.before_id, coalesce(e.before_to, 'none'))
	FROM (SELECT v.id, v.customer_id, v.detail ->> 'ladder' AS ladder, v.detail ->> 'from_id' AS from_id,
				lag(v.id) OVER moves AS before_id, lag(v.group_id::text) OVER moves AS before_to
		  FROM customer_groups.events v
		  WHERE v.kind IN ('tier_upgraded', 'tier_downgraded', 'tier_changed')
		  WINDOW moves AS (PARTITION BY v.customer_id, v.detail ->> 'ladder' ORDER BY v.id)) e
	WHERE e.before_id IS NOT NULL AND e.from_id IS DISTINCT FROM e.before_to

	-- Tracked segments have stored who fulfils their rule on the day that was reached.
	UNION ALL
	SELECT 'segment member differs from the rule', j.customer_id,
		format('segment %s on %s: stored %s, computed %s', j.code, j.day, j.stored, j.computed)
	FROM (SELECT f.customer_id, s.code, d.day,
				EXISTS (SELECT FROM customer_groups.segment_members m
						WHERE m.customer_id = f.customer_id AND m.segment_id = s.id) AS stored,
				customer_groups.in_segment(f.customer_id, s.code,
					d.day::timestamp AT TIME ZONE customer_groups.settings_timezone()) AS computed
		  FROM customer_groups.customer_facts f
		  CROSS JOIN customer_groups.segments s
		  CROSS JOIN LATERAL (SELECT coalesce(greatest(f.tracked_on,
									(SELECT t.reached_on FROM customer_groups.segment_tracking t)),
									(now() AT TIME ZONE customer_groups.settings_timezone())::date) AS day) d
		  WHERE s.tracked AND s.pending_since IS NULL) j
	WHERE j.stored <> j.computed
	UNION ALL
	SELECT 'segment member without a customer or a tracked segment', m.customer_id,
		format('segment %s', m.segment_id)
	FROM customer_groups.segment_members m
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = m.customer_id)
		OR NOT EXISTS (SELECT FROM customer_groups.segments s WHERE s.id = m.segment_id AND s.tracked)

	-- The events of a segment are entries and exits in turn, and tell who is in it since when.
	UNION ALL
	SELECT 'segment member differs from its events', coalesce(e.customer_id, m.customer_id),
		format('segment %s: stored %s, last event %s', coalesce(e.segment_id, m.segment_id),
			   coalesce(m.entered_at::text, 'none'), coalesce(e.kind || ' ' || (e.detail ->> 'effective_at'), 'none'))
	FROM (SELECT DISTINCT ON (v.customer_id, v.segment_id) v.customer_id, v.segment_id, v.kind, v.detail
		  FROM customer_groups.events v
		  WHERE v.kind IN ('segment_entered', 'segment_left')
		  ORDER BY v.customer_id, v.segment_id, v.id DESC) e
	FULL JOIN customer_groups.segment_members m
		ON m.customer_id = e.customer_id AND m.segment_id = e.segment_id
	WHERE CASE WHEN m.customer_id IS NULL THEN e.kind = 'segment_entered'
			   ELSE e.kind IS DISTINCT FROM 'segment_entered'
				   OR (e.detail ->> 'effective_at')::timestamptz <> m.entered_at END
	UNION ALL
	SELECT 'segment events are not in turn', v.customer_id,
		format('segment %s: event %s is another %s', v.segment_id, v.id, v.kind)
	FROM (SELECT v.*, lag(v.kind, 1, 'segment_left')
				OVER (PARTITION BY v.customer_id, v.segment_id ORDER BY v.id) AS before
		  FROM customer_groups.events v
		  WHERE v.kind IN ('segment_entered', 'segment_left')) v
	WHERE v.kind = v.before

	-- The categories are a tree.
	UNION ALL
	SELECT 'categories go round in a circle', NULL, format('category %s', u.id)
	FROM (WITH RECURSIVE up (id, ancestor) AS (
				SELECT c.id, c.parent_id FROM customer_groups.categories c
				WHERE c.parent_id IS NOT NULL
			UNION
				SELECT up.id, c.parent_id FROM up
				JOIN customer_groups.categories c ON c.id = up.ancestor
				WHERE c.parent_id IS NOT NULL AND up.ancestor <> up.id)
		  SELECT up.id FROM up WHERE up.ancestor = up.id) u

	-- Rules name what there is, and no segment names itself.
	UNION ALL
	SELECT 'rule names what does not exist', NULL, format('segment %s: %s %s', s.code, n.kind, n.code)
	FROM customer_groups.segments s CROSS JOIN LATERAL customer_groups.rule_names(s.rule) n
	WHERE NOT CASE n.kind
		WHEN 'category' THEN EXISTS (SELECT FROM customer_groups.categories x WHERE x.code = n.code)
		WHEN 'brand' THEN EXISTS (SELECT FROM customer_groups.brands x WHERE x.code = n.code)
		WHEN 'item' THEN EXISTS (SELECT FROM customer_groups.items x WHERE x.external_id = n.code)
		WHEN 'ladder' THEN n.code = 'default' OR EXISTS (SELECT FROM customer_groups.ladders x WHERE x.code = n.code)
		WHEN 'segment' THEN EXISTS (SELECT FROM customer_groups.segments x WHERE x.code = n.code)
		ELSE EXISTS (SELECT FROM customer_groups.groups x WHERE x.code = n.code) END

	-- Nor have a segment and those that it names more than 500 levels: of AND, OR, NOT and segments.
	UNION ALL
	SELECT u.problem, NULL, format('segment %s', u.code)
	FROM (WITH RECURSIVE node (code, tree, level) AS (
				SELECT s.code, s.rule::jsonb, 1 FROM customer_groups.segments s
			UNION ALL
				SELECT n.code, b.tree, n.level + 1 FROM node n
				CROSS JOIN LATERAL (
						SELECT n.tree -> 'not' WHERE n.tree ? 'not'
					UNION ALL
						SELECT jsonb_array_elements(coalesce(n.tree -> 'and', n.tree -> 'or'))) b (tree)
		  ), named (code, other, level) AS (
				SELECT n.code, n.tree ->> 'segment', max(n.level) FROM node n
				WHERE n.tree ? 'segment' GROUP BY 1, 2
		  ), down (code, other) AS (
				SELECT n.code, n.other FROM named n
			UNION
				SELECT d.code, n.other FROM down d JOIN named n ON n.code = d.other
				WHERE d.other <> d.code
		  ), round (code) AS (
				SELECT d.code FROM down d WHERE d.other = d.code
		  ), link (code, other, level) AS (
				SELECT n.* FROM named n JOIN customer_groups.segments s ON s.code = n.other
				WHERE n.other NOT IN (SELECT r.code FROM round r)
		  ), high (code, levels) AS (
				-- Unless the way down a link is as long in any case.
				SELECT n.code, max(n.level) FROM node n GROUP BY n.code
				HAVING max(n.level) > ALL (SELECT l.level + 1 FROM link l WHERE l.code = n.code)
			UNION
				SELECT l.code, least(l.level + h.levels, 501) FROM high h JOIN link l ON l.other = h.code
		  )
		  SELECT 'segments go round in a circle' AS problem, r.code FROM round r
		  UNION ALL
		  SELECT DISTINCT 'segments are nested too deep', h.code FROM high h WHERE h.levels = 501) u
$$;
COMMENT ON FUNCTION customer_groups.check_integrity() IS
	'Recomputes everything that is derived and makes every check between tables; one row for each difference (the customer is null where it concerns none), none on a healthy database. Slow: reads all tables, and needs the right to read them.';
-- recorded_at tells restored rows from new ones, and so never changes.

CREATE FUNCTION customer_groups.refuse_recorded_at() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RAISE EXCEPTION 'recorded_at of a row in "%" cannot be changed', TG_TABLE_NAME
		USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('It would change from %s to %s.', OLD.recorded_at, coalesce(NEW.recorded_at::text, 'null')),
			HINT = 'Leave recorded_at as it is: it tells restored rows from new ones.';
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_recorded_at() IS 'Trigger: refuses to change recorded_at (55000).';

DO $$
DECLARE
	target record;
BEGIN
	FOR target IN
		SELECT a.attrelid::pg_catalog.regclass AS name
		FROM pg_catalog.pg_attribute a
		JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
		WHERE c.relnamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace
			AND c.relkind OPERATOR(pg_catalog.=) 'r'
			AND a.attname OPERATOR(pg_catalog.=) 'recorded_at'
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER refuse_recorded_at BEFORE UPDATE ON %s
				FOR EACH ROW WHEN (OLD.recorded_at IS DISTINCT FROM NEW.recorded_at)
				EXECUTE FUNCTION customer_groups.refuse_recorded_at()', target.name);
	END LOOP;
END
$$;
-- What holds for all objects of the extension alike: who owns them, what a
-- dump carries, and that nobody may call a function but by an access level.
-- It ends the upgrade scripts, too. Those meet a shop at work, so what is done
-- already is not done again: it would lock every table, and a REVOKE in a
-- script makes a dump leave out the privileges given since on its object.

DO $$
DECLARE
	-- Not @extowner@: that is a superuser when one upgrades what another role owns.
	owner constant pg_catalog.regrole := (SELECT e.extowner FROM pg_catalog.pg_extension e
										  WHERE e.extname OPERATOR(pg_catalog.=) 'customer_groups');
	member record;
BEGIN
	-- The schema too, whoever made it: its owner could drop all of this.
	EXECUTE pg_catalog.format('ALTER SCHEMA customer_groups OWNER TO %s', owner);
	-- They belong to the role that installs, not to the superuser that the script
	-- of a trusted extension runs as.
	FOR member IN
		SELECT c.oid::pg_catalog.regclass AS name, c.relkind, c.relname,
			c.relowner OPERATOR(pg_catalog.=) current_user::pg_catalog.regrole
				AND c.relowner OPERATOR(pg_catalog.<>) owner AS is_new
		FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid
		JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
		WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
			AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.deptype OPERATOR(pg_catalog.=) 'e'
			AND e.extname OPERATOR(pg_catalog.=) 'customer_groups'
			AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v}'::"char"[])
		ORDER BY c.oid
	LOOP
		IF member.is_new THEN
			EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %s', member.name, owner);
		END IF;
		-- Stamps tell caches of this server what changed: they mean nothing elsewhere.
		IF member.relkind OPERATOR(pg_catalog.=) 'r'
			AND member.relname OPERATOR(pg_catalog.<>) 'cache_stamps'
		THEN
			PERFORM pg_catalog.pg_extension_config_dump(member.name, '');
			PERFORM pg_catalog.pg_extension_config_dump(s.objid, '')
			FROM pg_catalog.pg_depend s
			JOIN pg_catalog.pg_class q ON q.oid OPERATOR(pg_catalog.=) s.objid
			WHERE s.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
				AND s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
				AND s.refobjid OPERATOR(pg_catalog.=) member.name
				AND s.deptype OPERATOR(pg_catalog.=) 'i'
				AND q.relkind OPERATOR(pg_catalog.=) 'S';
		END IF;
	END LOOP;
	FOR member IN
		SELECT p.oid::pg_catalog.regprocedure AS name, p.proname, p.proacl IS NULL AS is_open,
			p.proowner OPERATOR(pg_catalog.=) current_user::pg_catalog.regrole
				AND p.proowner OPERATOR(pg_catalog.<>) owner AS is_new
		FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
		JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
		WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
			AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.deptype OPERATOR(pg_catalog.=) 'e'
			AND e.extname OPERATOR(pg_catalog.=) 'customer_groups'
			-- Those of the data type stay with the superuser, as the type does.
			AND p.proname OPERATOR(pg_catalog.!~) '^segment_rule'
	LOOP
		IF member.is_new THEN
			EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO %s', member.name, owner);
		END IF;
		-- Everybody may call what constraints, defaults and views do.
		IF member.is_open AND member.proname OPERATOR(pg_catalog.<>) ALL ('{is_money,currency_digits,is_timezone,settings_currency,settings_timezone,earliest_today,shop_today,search_form,was_valid,month_day}'::pg_catalog.text[])
		THEN
			EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', member.name);
		END IF;
	END LOOP;
END
$$;
