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
