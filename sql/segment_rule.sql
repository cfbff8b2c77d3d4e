-- The type segment_rule: what its text, binary and jsonb forms accept, refuse and give back,
-- that each leads to the same value again, and that equality and hashing agree.

SET search_path = customer_groups, pg_catalog, public;
\pset format unaligned

-- The rules of the design, which print as they are written there.
CREATE TEMP TABLE design (rule text);
INSERT INTO design VALUES
	('ALL'),
	('prepaid_purchases > 0 OR pass_purchases > 0'),
	('prepaid_purchases = 0 AND pass_purchases = 0'),
	('visits >= 1 AND registered WITHIN 30 DAYS'),
	('no_shows >= 1'),
	('net_sales >= 1000000 AND visits >= 10'),
	('days_since(last_visit) >= 180'),
	('visits >= 2 OR days_since(last_visit) >= 30'),
	('birthday IN THIS MONTH'),
	('visits <= 0 AND registered WITHIN 30 DAYS'),
	('birthday WITHIN NEXT 7 DAYS'),
	('bought CATEGORY ''shoes'' IN LAST 365 DAYS >= 2'),
	('attribute ''city'' = ''Seoul'''),
	('net_sales BETWEEN 100 AND 500'),
	('tier OF ''default'' = ''gold'''),
	('in SEGMENT ''vip''');
SELECT count(*) AS rules, count(*) FILTER (WHERE rule::segment_rule::text <> rule) AS printed_otherwise
FROM design;

-- Valid input and its canonical form.
CREATE TEMP TABLE valid (id int GENERATED ALWAYS AS IDENTITY, input text);
INSERT INTO valid (input) VALUES
	('all'),
	('  VISITS>=10   and'||E'\n\t'||'Net_Sales >= 1000000.00 '),
	('NOT (member OF ''wholesale'') AND net_sales IN LAST 90 DAYS >= 300'),
	('visits IN (1,2 , 3)'),
	('visits IN LAST 30 DAYS IN (1, 2)'),
	('refunds in last 0 days < -.50 or no_shows in last 1 day <> 0 or visits IN LAST 100000 DAYS != 7'),
	('average_sale = 1.5e3 OR average_sale = 1E-2 OR average_sale = +5. OR average_sale = -0'),
	('visits BETWEEN 1 AND 2 AND refunds BETWEEN 10 AND 5'),
	('days_since ( first_visit ) BETWEEN 10 AND 20.5'),
	('days_since(registered) in (1)'),
	('registered WITHIN 1 DAY AND first_visit within 0 days'),
	('last_visit >= DATE ''2026-01-01'' OR last_visit >= ''2026-01-01'''),
	('registered BETWEEN ''0001-01-01'' AND date ''9999-12-31'''),
	('first_visit IN (''2024-02-29'', DATE ''2000-02-29'')'),
	('birthday today OR birthday in this month OR birthday in month 05 OR birthday within next 1 day'),
	('bought ITEM ''sku-7'' >= 0.350 OR bought brand ''b'' in last 7 days in (1, 2)'),
	('attribute ''size'' = 42 OR attribute ''size'' = ''42'' OR attribute ''a'' <> ''b'''),
	('attribute ''a'' BETWEEN 1 AND 2 OR attribute ''a'' IN (1) OR attribute ''a'' IN (''x'', '''') OR attribute ''a'' < 3'),
	('attribute ''letters'' = TRUE OR attribute ''letters'' <> False OR attribute ''letters'' in (true,FALSE , true) OR NOT attribute ''true'' != true'),
	('tier OF ''default'' <> ''gold'' AND tier of ''b2b'' in (''gold'', ''silver'')'),
	('in segment ''it''''s'' OR member of ''한국''''고객'''),
	('member OF ''AND'' AND member OF ''and'' AND member OF ''a'||E'\n'||'b'''),
	('visits=1 OR visits=2 AND visits=3'),
	('(visits=1 OR visits=2) AND visits=3'),
	('((visits=1 AND (visits=2 AND (visits=3))) AND visits=4)'),
	('visits=1 OR (visits=2 OR (visits=3 AND visits=4) OR visits=5)'),
	('NOT visits=1 AND NOT (visits=2 AND visits=3) OR NOT (visits=4 OR visits=5)'),
	('NOT NOT (NOT ALL)'),
	('NOT visits BETWEEN 1 AND 2 AND ALL'),
	('visits>=10 AND net_sales>=1000000'),
	('net_sales IN LAST 90 DAYS BETWEEN 0.5 AND 1e2'),
	('no_shows IN LAST 0 DAYS IN (1)'),
	('prepaid_purchases <> 1 AND pass_purchases != 1'),
	('DAYS_SINCE(LAST_VISIT) > 0'),
	('last_visit = ''2000-02-29'''),
	('registered <> date ''2026-12-31'' or first_visit<''2026-01-01'''),
	('last_visit WITHIN 100000 DAYS'),
	('BIRTHDAY WITHIN NEXT 0 DAYS'),
	('bought CATEGORY ''a''''b'' BETWEEN 1 AND 2'),
	('attribute '''' = '''''),
	('attribute ''ä'' >= 1 OR attribute ''ä'' != ''ö'''),
	('tier OF ''default'' = ''gold'' or not in segment ''a'' and not member of ''b'''),
	('(((visits > 1)))'),
	(repeat('(', 100) || 'ALL' || repeat(')', 100));
SELECT input::segment_rule AS canonical FROM valid ORDER BY id;

-- What was printed reads back as an equal value, and so does jsonb.
SELECT input AS not_stable
FROM valid, LATERAL (SELECT input::segment_rule AS rule) r
WHERE rule::text::segment_rule <> rule OR rule::text::segment_rule::text <> rule::text
	OR rule::jsonb::segment_rule <> rule;

-- Settings do not matter.
SET DateStyle = 'German, DMY';
SELECT 'last_visit >= ''2026-01-02'''::segment_rule, 'last_visit >= ''2026-01-02'''::segment_rule::jsonb;
RESET DateStyle;

-- Invalid input: the message, and where and why.
CREATE FUNCTION pg_temp.complaint(command text, VARIADIC args text[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE command USING args[1];
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n  ', concat(state, ' ', message), nullif(detail, ''), nullif(hint, ''));
END
$$;
CREATE TEMP TABLE invalid (id int GENERATED ALWAYS AS IDENTITY, input text);
INSERT INTO invalid (input) VALUES
	(''),
	('  '),
	('visitz >= 10'),
	('visits >= 1 AND net_sale > 5'),
	('net_salse >= 1'),
	('Averagesale > 5'),
	('birthda TODAY'),
	('birthday TODYA'),
	('birthday NEXT 7 DAYS'),
	('birthday WITHIN NEXT 7'),
	('visits BETWEN 1 AND 2'),
	('visits BETWEEN 2 OR 3'),
	('visits >= 1 ADN ALL'),
	('days_since(lastvisit) > 3'),
	('registered WITHIN THIS MONTH'),
	('last_visit IN LAST 3 DAYS'),
	('last_visit IN ()'),
	('last_visit BETWEEN ''2026-01-01'' AND 5'),
	('first_visit > DATE 2026'),
	('bought CATEGRY ''shoes'' > 1'),
	('bought ITEM ''a'' IN LAST 3 DAYS'),
	('attribute ''a'''),
	('attribute ''a'' IN LAST 3 DAYS = 1'),
	('tier OF ''default'' BETWEEN ''a'' AND ''b'''),
	('tier ''default'' = ''gold'''),
	('member ''wholesale'''),
	('in SEGMENT vip'),
	('in ''vip'''),
	('NOT visits'),
	('ALL OR OR ALL'),
	('ALL AND NOT'),
	('방문횟수 AND 한국'),
	('visits > 5' || E'\n' || 'AND net_sale > 3'),
	('unusually_long_word_that_resembles_nothing_at_all_that_a_rule_could_name > 1'),
	('member OF ''한국'' AND 방문 > 5'),
	('visits'),
	('visits >='),
	('visits >= ten'),
	('visits >= ''10'''),
	('visits == 10'),
	('visits >= 10 20'),
	('visits >= 10 visits'),
	('visits >= 1 AND'),
	('visits >= 10;'),
	('visits >= 10x'),
	('visits >= 1e'),
	('visits >= 1e999999999999'),
	('visits = NaN'),
	('visits = - 1'),
	('visits IN ()'),
	('visits IN (1,)'),
	('visits IN LAST DAYS > 1'),
	('visits IN LAST 3 WEEKS > 1'),
	('visits IN LAST -1 DAYS > 1'),
	('visits IN LAST 1.5 DAYS > 1'),
	('visits IN LAST 100001 DAYS > 1'),
	('visits IN LAST 99999999999999999999 DAYS > 1'),
	('visits IN LAST 30 DAYS'),
	('average_sale IN LAST 30 DAYS > 1'),
	('visits BETWEEN 1'),
	('visits WITHIN 30 DAYS'),
	('visits < ''2026-01-01'''),
	('registered > 5'),
	('registered = ''2026-02-29'''),
	('registered = ''26-1-1'''),
	('registered = ''0000-01-01'''),
	('registered = ''2026--1-01'''),
	('registered = ''today'''),
	('registered WITHIN 30'),
	('days_since(visits) > 1'),
	('days_since last_visit > 1'),
	('birthday > 5'),
	('birthday IN MONTH 13'),
	('birthday IN MONTH 0'),
	('birthday WITHIN 7 DAYS'),
	('bought ''shoes'' > 1'),
	('bought GROUP ''shoes'' > 1'),
	('bought CATEGORY ''shoes'''),
	('bought CATEGORY "shoes" > 1'),
	('attribute city = ''Seoul'''),
	('attribute ''city'' > ''Seoul'''),
	('attribute ''city'' BETWEEN ''a'' AND ''b'''),
	('attribute ''city'' IN (''a'', 1)'),
	('attribute ''letters'' > true'),
	('attribute ''letters'' BETWEEN false AND true'),
	('attribute ''letters'' IN (true, ''true'')'),
	('attribute ''letters'' IN (0, false)'),
	('attribute ''letters'' = ture'),
	('attribute ''letters'' = yes'),
	('attribute ''letters'''' = true'),
	('attribute ''letters'' true'),
	('attribute true = 1'),
	('visits = true'),
	('registered <> false'),
	('tier OF ''default'' = true'),
	('true'),
	('tier OF ''default'' >= ''gold'''),
	('tier OF ''default'' = 3'),
	('tier = ''gold'''),
	('member OF wholesale'),
	('member OF ''wholesale'),
	('member OF ''it''''s'),
	('in GROUP ''a'''),
	('ALL ALL'),
	('(ALL'),
	('ALL)'),
	('()'),
	('NOT'),
	('AND ALL'),
	('ALL -- comment');
SELECT input, pg_temp.complaint('SELECT $1::segment_rule', input) FROM invalid ORDER BY id;

-- Limits: of text, before and after it is made canonical; conditions; levels; digits.
SELECT what, pg_temp.complaint('SELECT $1::segment_rule', rule)
FROM (VALUES
	('65,536 characters', rpad('ALL', 65536)),
	('65,537 characters', rpad('ALL', 65537)),
	('65,536 characters of three bytes', 'member OF ''' || repeat('한', 65524) || ''''),
	('canonical form too long', 'visits IN(' || repeat('1,', 30000) || '1)'),
	('1,000 conditions', repeat('ALL OR ', 999) || 'ALL'),
	('1,001 conditions', repeat('ALL OR ', 1000) || 'ALL'),
	('100 levels', repeat('NOT ', 100) || 'ALL'),
	('101 levels', repeat('NOT ', 101) || 'ALL'),
	('60,000 levels', repeat('(', 60000)),
	('more levels than parentheses', repeat('ALL AND (ALL OR ', 60) || 'ALL' || repeat(')', 60)),
	('1,000 digits', 'visits < ' || repeat('9', 1000)),
	('1,000 digits by an exponent', 'visits < 1e999'),
	('1,001 digits by an exponent', 'visits < 1e1000')) AS v (what, rule);
SELECT pg_temp.complaint('SELECT $1::jsonb::segment_rule', repeat('{"not":', n) || '{"all": true}' || repeat('}', n))
FROM (VALUES (100), (101), (5000)) AS v (n);
SELECT pg_temp.complaint('SELECT jsonb_build_object(''and'', array_agg(jsonb ''{"all": true}''))::segment_rule FROM generate_series(1, $1::int)', n)
FROM (VALUES ('1000'), ('1001'), ('500000')) AS v (n);

-- Equality is that of the canonical form, and hashing agrees with it.
SELECT a, b, a::segment_rule = b::segment_rule AS eq, a::segment_rule <> b::segment_rule AS ne,
	segment_rule_hash(a::segment_rule) = segment_rule_hash(b::segment_rule) AS hash,
	segment_rule_hash_extended(a::segment_rule, 42) = segment_rule_hash_extended(b::segment_rule, 42) AS extended
FROM (VALUES
	('visits > 10', 'VISITS>10.00'),
	('visits > 10', 'visits > 1e1'),
	('visits > 0', 'visits > -0'),
	('visits > 10', 'visits >= 10'),
	('visits > 1 AND (visits > 2 AND visits > 3)', '(visits > 1 AND visits > 2) AND visits > 3'),
	('visits > 1 AND visits > 2', 'visits > 2 AND visits > 1'),
	('member OF ''a''', 'member OF ''A'''),
	('attribute ''a'' = 1', 'attribute ''a'' = ''1'''),
	('attribute ''a'' = true', 'attribute ''a'' = TRUE'),
	('attribute ''a'' = true', 'attribute ''a'' = false'),
	('attribute ''a'' = true', 'attribute ''a'' = ''true'''),
	('attribute ''a'' = true', 'attribute ''a'' = 1'),
	('visits > 1', 'visits IN LAST 0 DAYS > 1')) AS v (a, b);
SELECT count(*) AS rows, count(DISTINCT rule::text) AS texts,
	(SELECT count(*) FROM (SELECT FROM valid GROUP BY input::segment_rule) g) AS groups
FROM (SELECT input::segment_rule AS rule FROM valid) r;
SELECT DISTINCT rule FROM (VALUES (segment_rule 'visits > 1'), ('visits>1.0'), ('visits > 1')) AS v (rule);
SELECT segment_rule_hash('visits > 10') = segment_rule_hash_extended('visits > 10', 0)::bit(32)::int AS hash_is_low_half;
CREATE TEMP TABLE hashed (rule segment_rule) PARTITION BY HASH (rule);
CREATE TEMP TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TEMP TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT input::segment_rule FROM valid;
SELECT count(*) FROM hashed a JOIN hashed b USING (rule);

-- The binary form: a version and the text. What reads it back is in test/t/.
SELECT segment_rule_send('visits>10.0'), substr(convert_from(segment_rule_send('visits>10.0'), 'UTF8'), 2);

-- jsonb: the tree.
SELECT input::segment_rule::jsonb FROM valid ORDER BY id;
SELECT json::jsonb::segment_rule FROM (VALUES
	('{"and": [{"all": true}]}'),
	('{"or": [{"or": [{"all": true}, {"metric": "visits", "op": "BETWEEN", "value": [1.0, 2]}]}, {"segment": "a''b"}]}'),
	('{"not": {"and": [{"all": true}, {"within": "registered", "days": 3e1}]}}')) AS v (json);
SELECT json, pg_temp.complaint('SELECT $1::jsonb::segment_rule', json) FROM (VALUES
	('"ALL"'),
	('null'),
	('[]'),
	('{}'),
	('{"all": false}'),
	('{"all": true, "more": 1}'),
	('{"and": []}'),
	('{"and": {"all": true}}'),
	('{"and": [true]}'),
	('{"or": [{"all": true}, [{"all": true}]]}'),
	('{"and": [{"all": true}], "or": [{"all": true}]}'),
	('{"not": [{"all": true}]}'),
	('{"metric": "visitz", "op": ">", "value": 1}'),
	('{"metric": "registered", "op": ">", "value": 1}'),
	('{"metric": 1, "op": ">", "value": 1}'),
	('{"metric": "visits"}'),
	('{"metric": "visits", "op": ">"}'),
	('{"metric": "visits", "value": 1}'),
	('{"metric": "visits", "op": "like", "value": 1}'),
	('{"metric": "visits", "op": ">", "value": "1"}'),
	('{"metric": "visits", "op": ">", "value": null}'),
	('{"metric": "visits", "op": ">", "value": [1]}'),
	('{"metric": "visits", "op": "in", "value": 1}'),
	('{"metric": "visits", "op": "in", "value": []}'),
	('{"metric": "visits", "op": "between", "value": [1, 2, 3]}'),
	('{"metric": "visits", "op": ">", "value": 1e2000}'),
	('{"metric": "visits", "op": ">", "value": 1, "last_days": -1}'),
	('{"metric": "visits", "op": ">", "value": 1, "last_days": 1.5}'),
	('{"metric": "visits", "op": ">", "value": 1, "last_days": "1"}'),
	('{"metric": "average_sale", "op": ">", "value": 1, "last_days": 1}'),
	('{"date": "last_visit", "op": ">", "value": "yesterday"}'),
	('{"date": "visits", "op": ">", "value": "2026-01-01"}'),
	('{"within": "registered"}'),
	('{"birthday": "tomorrow"}'),
	('{"birthday": "today", "days": 3}'),
	('{"birthday": "month", "month": 13}'),
	('{"bought": "group", "code": "a", "op": ">", "value": 1}'),
	('{"bought": "item", "op": ">", "value": 1}'),
	('{"attribute": "city", "op": ">", "value": "a"}'),
	('{"attribute": "city", "op": "in", "value": ["a", 1]}'),
	('{"attribute": "letters", "op": "<", "value": true}'),
	('{"attribute": "letters", "op": "between", "value": [false, true]}'),
	('{"attribute": "letters", "op": "in", "value": [true, "true"]}'),
	('{"attribute": "letters", "op": "in", "value": [true, null]}'),
	('{"attribute": "letters", "op": "=", "value": [true]}'),
	('{"metric": "visits", "op": "=", "value": true}'),
	('{"date": "registered", "op": "=", "value": true}'),
	('{"tier_of": "default", "op": "=", "value": false}'),
	('{"tier_of": "default", "op": "=", "value": 1}'),
	('{"segment": 7}'),
	('{"and": [{"all": true}, {"or": [{"segment": "a"}, {"metric": "visitz", "op": ">", "value": 1}]}]}'),
	('{"not": {"not": {"and": [{"all": true}, {"all": 1}]}}}'),
	('{"or": [{"all": true}, {"within": "registered", "days": 1, "a key": 1}]}'),
	('{"and": [{"all": true}, {"date": "registered", "op": "in", "value": ["2026-01-01", "2026-02-30"]}]}'),
	('{"and": [{"all": true}, null]}'),
	('{"not": {"member_of": null}}'),
	('{"or": [{"or": [{"or": []}]}]}')) AS v (json);

-- The names in a rule, and another code for one.
CREATE TEMP TABLE named AS SELECT segment_rule 'NOT (member OF ''x'' OR member OF ''x'') AND tier OF ''x'' IN (''x'', ''y'')
	AND (bought ITEM ''x'' > 1 OR bought CATEGORY ''x'' > 1 OR bought BRAND ''x'' IN LAST 7 DAYS > 1)
	AND in SEGMENT ''x'' AND attribute ''x'' = ''x'' AND member OF ''X'' AND last_visit > ''2026-01-01''' AS rule;
SELECT n.* FROM named, rule_names(rule) n;
SELECT * FROM rule_names('ALL');
SELECT * FROM rule_names(NULL);
SELECT kind, rule_rename(rule, kind, 'x', 'it''s')
FROM named, unnest('{brand,category,group,item,ladder,segment,tier}'::text[]) kind;
SELECT rule_rename(rule, 'group', 'none', 'other') = rule AS unchanged FROM named;
SELECT rule_rename(rule, 'group', 'x', 'long') = replace(rule::text, 'member OF ''x''', 'member OF ''long''')::segment_rule AS same FROM named;
SELECT rule_rename(rule, 'attribute', 'x', 'y') FROM named;
SELECT rule_rename(rule, 'group', 'x', repeat('x', 65536)) FROM named;

-- Random trees: jsonb, rule, text, rule and jsonb again.
CREATE FUNCTION pg_temp.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
	RETURN choices[1 + floor(random() * cardinality(choices))::int];
CREATE FUNCTION pg_temp.some(one text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	RETURN CASE one
		WHEN 'number' THEN to_jsonb(trim_scale(round((random() * 10 ^ pg_temp.pick('0', '3', '12')::int)::numeric, pg_temp.pick('0', '2', '9')::int) * pg_temp.pick('1', '-1')::int))
		WHEN 'date' THEN to_jsonb(date '2000-02-29' + floor(random() * 20000)::int)
		WHEN 'boolean' THEN to_jsonb(random() < 0.5)
		ELSE to_jsonb(pg_temp.pick('gold', 'a''b', '', '한국', 'AND', 'x y', '"', '\', E'\n')) END;
END
$$;
CREATE FUNCTION pg_temp.test(types text[]) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	type text := pg_temp.pick(VARIADIC types);
	op text := pg_temp.pick('=', '<>', 'in');
	list jsonb := '[]';
BEGIN
	IF type NOT IN ('text', 'boolean') THEN
		op := pg_temp.pick('=', '<>', '<', '<=', '>', '>=', 'between', 'in');
	END IF;
	IF op NOT IN ('between', 'in') THEN
		RETURN jsonb_build_object('op', op, 'value', pg_temp.some(type));
	END IF;
	FOR i IN 1 .. CASE op WHEN 'between' THEN 2 ELSE 1 + floor(random() * 4)::int END LOOP
		list := list || jsonb_build_array(pg_temp.some(type));
	END LOOP;
	RETURN jsonb_build_object('op', op, 'value', list);
END
$$;
CREATE FUNCTION pg_temp.tree(depth int, inside text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	kind text := pg_temp.pick('all', 'metric', 'date', 'days_since', 'within', 'birthday', 'bought',
		'attribute', 'member_of', 'tier_of', 'segment');
	date_metric text := pg_temp.pick('registered', 'first_visit', 'last_visit');
	days int := floor(random() * 400)::int;
	last_days jsonb := jsonb_build_object('last_days', days);
	list jsonb := '[]';
BEGIN
	IF random() < depth / 5.0 THEN
		kind := coalesce(nullif(pg_temp.pick('and', 'or', 'not'), inside), 'not'); -- a chain in its like is flattened
	END IF;
	CASE kind
		WHEN 'and', 'or' THEN
			FOR i IN 1 .. 2 + floor(random() * 3)::int LOOP
				list := list || jsonb_build_array(pg_temp.tree(depth - 1, kind));
			END LOOP;
			RETURN jsonb_build_object(kind, list);
		WHEN 'not' THEN RETURN jsonb_build_object(kind, pg_temp.tree(depth - 1, NULL));
		WHEN 'all' THEN RETURN '{"all": true}';
		WHEN 'metric' THEN
			RETURN CASE WHEN random() < 0.5
				THEN jsonb_build_object('metric', pg_temp.pick('visits', 'net_sales', 'refunds', 'no_shows')) || last_days
				ELSE jsonb_build_object('metric', pg_temp.pick('visits', 'average_sale', 'prepaid_purchases', 'pass_purchases')) END
				|| pg_temp.test('{number}');
		WHEN 'date' THEN RETURN jsonb_build_object(kind, date_metric) || pg_temp.test('{date}');
		WHEN 'days_since' THEN RETURN jsonb_build_object(kind, date_metric) || pg_temp.test('{number}');
		WHEN 'within' THEN RETURN jsonb_build_object(kind, date_metric, 'days', days);
		WHEN 'birthday' THEN
			RETURN pg_temp.pick('{"birthday": "today"}', '{"birthday": "this_month"}',
				'{"birthday": "month", "month": 12}', '{"birthday": "next", "days": 7}')::jsonb;
		WHEN 'bought' THEN
			RETURN jsonb_build_object(kind, pg_temp.pick('item', 'category', 'brand'), 'code', pg_temp.some('text'))
				|| pg_temp.test('{number}') || CASE WHEN random() < 0.5 THEN last_days ELSE '{}' END;
		WHEN 'attribute' THEN RETURN jsonb_build_object(kind, pg_temp.some('text')) || pg_temp.test('{number,text,boolean}');
		WHEN 'tier_of' THEN RETURN jsonb_build_object(kind, pg_temp.some('text')) || pg_temp.test('{text}');
		ELSE RETURN jsonb_build_object(kind, pg_temp.some('text'));
	END CASE;
END
$$;
SELECT setseed(0.5);
CREATE TEMP TABLE trees AS SELECT pg_temp.tree(5, NULL) AS tree FROM generate_series(1, 500);
SELECT count(*) AS trees, max(length(tree::text)) > 1000 AS large,
	count(*) FILTER (WHERE rule::jsonb <> tree) AS jsonb_differs,
	count(*) FILTER (WHERE rule::text::segment_rule <> rule) AS rule_differs,
	count(*) FILTER (WHERE rule::text::segment_rule::text <> rule::text) AS text_differs,
	count(*) FILTER (WHERE segment_rule_hash(rule::text::segment_rule) <> segment_rule_hash(rule)) AS hash_differs
FROM trees, LATERAL (SELECT tree::segment_rule AS rule) r;

-- Random damage to texts: refused as invalid, or read as a rule that is printed stably.
DO $$
DECLARE
	good text;
	bad text;
	place int;
	rule segment_rule;
	refused int := 0;
BEGIN
	FOR good IN SELECT tree::segment_rule::text FROM trees, generate_series(1, 5) LOOP
		place := 1 + floor(random() * length(good))::int;
		bad := overlay(good PLACING pg_temp.pick('', ' ', '''', '(', ')', ',', '9', '.', 'x', 'NOT ', E'\\', '한')
			FROM place FOR pg_temp.pick('0', '1', '2')::int);
		BEGIN
			rule := bad;
			IF rule::text::segment_rule <> rule OR rule::jsonb::segment_rule <> rule THEN
				RAISE WARNING 'not stable: %', bad;
			END IF;
		EXCEPTION WHEN invalid_text_representation THEN
			refused := refused + 1;
		END;
	END LOOP;
	RAISE NOTICE 'some were refused: %, and some were not: %', refused > 500, refused < 2500;
END
$$;
