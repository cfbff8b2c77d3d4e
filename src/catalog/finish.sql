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
