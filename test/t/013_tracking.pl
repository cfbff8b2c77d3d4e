# A simulated year of tracked segments, in steps of one or several days, with random sales, edits, fills and changes of definitions.
# Each advance writes what evaluating everybody day by day says, and after each step the stored members are what the rules say on the
# day reached, and what replaying the events gives, also where all rules ask for facts only; a restored dump goes on in the same way.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $days = 365;
my $node = Shop::server('main');
$node->append_conf('postgresql.conf', "autovacuum = off\njit = off");
$node->start;
Shop::create($node, 'shop');
srand(20261122);

# ---------------------------------------------------------------------------------------------
# The shop, and the slow and obvious answers
# ---------------------------------------------------------------------------------------------

my $session = Shop::Session->new($node, 'shop');

# What is done here is right: errors are not expected.
sub run
{
	my ($sql) = @_;
	my $result = $session->query($sql);
	die("$sql\n$result") if $result =~ /^psql:.*(?:ERROR|FATAL|server closed)/m;
	return $result;
}

run(q{
	SET search_path = customer_groups;
	SET client_min_messages = error;
	CREATE SCHEMA test;
	CREATE TABLE test.clock (day date);
	INSERT INTO test.clock VALUES (current_date);

	INSERT INTO settings (timezone) VALUES ('Europe/Berlin');
	INSERT INTO ladders (code, name, measure) VALUES ('often', 'Often', 'visits');
	INSERT INTO groups (code, name, starts_on, ladder, upgrade_threshold) VALUES ('club', 'Club', '2000-01-01', NULL, NULL),
		('summer', 'Summer', current_date + 100, NULL, NULL), ('silver', 'Silver', '2000-01-01', NULL, 300),
		('gold', 'Gold', '2000-01-01', NULL, 900), ('regular', 'Regular', '2000-01-01', 'often', 4);
	UPDATE groups SET ends_on = current_date + 150 WHERE code = 'summer';
	INSERT INTO brands (code, name) VALUES ('acme', 'Acme'), ('bolt', 'Bolt');
	INSERT INTO categories (code, name, parent_id) VALUES ('all', 'All', NULL), ('cups', 'Cups', 1), ('mugs', 'Mugs', 2), ('pens', 'Pens', NULL);
	INSERT INTO items (external_id, name, brand_id, price) SELECT 'item-' || i, 'Item', 1 + i % 2, 5 FROM generate_series(1, 8) AS i;
	INSERT INTO item_categories (item_id, category_id) SELECT id, 1 + id % 4 FROM items;
	INSERT INTO customers (registered_at, birth_date, attributes)
	SELECT now() - i * interval '29 hours', CASE WHEN i % 9 > 0 THEN date '1960-02-29' + i * 173 END, jsonb_build_object('city', i % 3, 'n', i)
	FROM generate_series(1, 80) AS i;
	UPDATE customers SET birth_date = '1996-02-29' WHERE id IN (5, 6);
	INSERT INTO segments (code, name, tracked, rule) VALUES
		('all', 'All', true, 'ALL'),
		('often', 'Often', true, 'visits >= 3 AND average_sale < 60 OR refunds > 1'),
		('lately', 'Lately', true, 'visits IN LAST 14 DAYS >= 1'),
		('money', 'Money', true, 'net_sales IN LAST 30 DAYS BETWEEN 20 AND 200 AND no_shows IN LAST 90 DAYS = 0'),
		('back', 'Back', true, 'refunds IN LAST 5 DAYS > 0 OR prepaid_purchases > 1 AND pass_purchases <> 1'),
		('dormant', 'Dormant', true, 'days_since(last_visit) >= 40'),
		('week', 'Week', true, 'days_since(first_visit) IN (7, 14, 21.5, 28) OR days_since(last_visit) < 0'),
		('new', 'New', true, 'registered WITHIN 30 DAYS AND visits >= 1'),
		('early', 'Early', true, $$registered < '2026-11-01' OR first_visit BETWEEN '2026-01-01' AND '2027-02-10'$$),
		('today', 'Today', true, 'birthday TODAY'),
		('soon', 'Soon', true, 'birthday WITHIN NEXT 7 DAYS'),
		('month', 'Month', true, 'birthday IN THIS MONTH OR birthday IN MONTH 2'),
		('item', 'Item', true, $$bought ITEM 'item-1' IN LAST 20 DAYS >= 2$$),
		('cups', 'Cups', true, $$bought CATEGORY 'cups' >= 3 AND NOT bought CATEGORY 'all' IN LAST 10 DAYS >= 1$$),
		('acme', 'Acme', true, $$bought BRAND 'acme' IN LAST 60 DAYS BETWEEN 1 AND 5$$),
		('clubber', 'Clubber', true, $$member OF 'club' AND NOT member OF 'summer'$$),
		('tier', 'Tier', true, $$tier OF 'default' IN ('gold', 'silver') OR tier OF 'often' = 'regular'$$),
		('city', 'City', true, $$attribute 'city' = 1 OR attribute 'vip' = 'yes' OR attribute 'name' <> 'x' OR attribute 'letters' = true$$),
		('parts', 'Parts', false, $$in SEGMENT 'cups' OR visits IN LAST 7 DAYS >= 1 AND attribute 'n' > 20$$),
		('nested', 'Nested', true, $$in SEGMENT 'parts' AND NOT in SEGMENT 'soon' OR in SEGMENT 'clubber'$$);
	CALL fill_segments(7);
	SELECT advance_segments();

	CREATE FUNCTION test.noon(day date) RETURNS timestamptz LANGUAGE sql AS $$
		SELECT (day + time '12:00') AT TIME ZONE customer_groups.settings_timezone() $$;

	-- Who is in which tracked segment that is not pending, on a day.
	CREATE FUNCTION test.evaluate(day date) RETURNS TABLE (segment_id int, customer_id bigint) LANGUAGE sql AS $$
		SELECT s.id, l.customer_id
		FROM customer_groups.labels_of(ARRAY(SELECT id FROM customer_groups.customers), test.noon(day)) l
		CROSS JOIN jsonb_array_elements(l.labels) x
		JOIN customer_groups.segments s ON s.code = x ->> 'code'
		WHERE s.tracked AND s.pending_since IS NULL $$;
	CREATE VIEW test.replayed AS
		SELECT e.segment_id, e.customer_id, (e.detail ->> 'effective_at')::timestamptz AS entered_at
		FROM (SELECT DISTINCT ON (segment_id, customer_id) * FROM customer_groups.events
			  WHERE kind IN ('segment_entered', 'segment_left') ORDER BY segment_id, customer_id, id DESC) e
		WHERE e.kind = 'segment_entered';
	CREATE VIEW test.problems AS
		(WITH evaluated AS MATERIALIZED (SELECT e.* FROM test.clock k, test.evaluate(k.day) e),
			stored AS MATERIALIZED (SELECT m.segment_id, m.customer_id FROM customer_groups.segment_members m
									JOIN customer_groups.segments s ON s.id = m.segment_id AND s.pending_since IS NULL)
		 SELECT 'stored, not evaluated' AS problem, x.* FROM (TABLE stored EXCEPT TABLE evaluated) x
		 UNION ALL SELECT 'evaluated, not stored', x.* FROM (TABLE evaluated EXCEPT TABLE stored) x)
		UNION ALL (SELECT 'stored, not replayed', m.segment_id, m.customer_id FROM
				   (TABLE customer_groups.segment_members EXCEPT TABLE test.replayed) m)
		UNION ALL (SELECT 'replayed, not stored', r.segment_id, r.customer_id FROM
				   (TABLE test.replayed EXCEPT TABLE customer_groups.segment_members) r);

	-- Advances by n days; what the events differ in from evaluating everybody on each of them. Pending ones are left out.
	CREATE FUNCTION test.advance(n int) RETURNS TABLE (problem text, segment_id int, customer_id bigint, day date) LANGUAGE plpgsql AS $$
	DECLARE
		d0 date := (SELECT k.day FROM test.clock k);
		last bigint := (SELECT coalesce(max(id), 0) FROM customer_groups.events);
		said bigint;
	BEGIN
		DROP TABLE IF EXISTS expected;
		CREATE TEMP TABLE expected AS
		WITH inside AS MATERIALIZED (
			SELECT e.segment_id, e.customer_id, d0 + i AS day FROM generate_series(0, n) AS i, test.evaluate(d0 + i) e)
		SELECT x.*, 'segment_entered' AS kind
		FROM (SELECT i.segment_id, i.customer_id, i.day FROM inside i WHERE i.day > d0
			  EXCEPT SELECT i.segment_id, i.customer_id, i.day + 1 FROM inside i) x
		UNION ALL SELECT x.*, 'segment_left'
		FROM (SELECT i.segment_id, i.customer_id, i.day + 1 FROM inside i WHERE i.day < d0 + n
			  EXCEPT SELECT i.segment_id, i.customer_id, i.day FROM inside i) x;
		said := customer_groups.advance_segments(test.noon(d0 + n));
		UPDATE test.clock SET day = d0 + n;
		DROP TABLE IF EXISTS written;
		CREATE TEMP TABLE written AS
		SELECT e.segment_id, e.customer_id, ((e.detail ->> 'effective_at')::timestamptz AT TIME ZONE customer_groups.settings_timezone())::date AS day, e.kind
		FROM customer_groups.events e JOIN customer_groups.segments s ON s.id = e.segment_id
		WHERE e.id > last AND s.pending_since IS NULL;
		RETURN QUERY SELECT 'too little: ' || x.kind, x.segment_id, x.customer_id, x.day FROM (TABLE expected EXCEPT ALL TABLE written) x;
		RETURN QUERY SELECT 'too much: ' || x.kind, x.segment_id, x.customer_id, x.day FROM (TABLE written EXCEPT ALL TABLE expected) x;
		IF said <> (SELECT count(*) FROM customer_groups.events e WHERE e.id > last) THEN
			RETURN QUERY SELECT 'said ' || said, NULL::int, NULL::bigint, NULL::date;
		END IF;
		IF customer_groups.advance_segments(test.noon(d0 + n)) <> 0 THEN
			RETURN QUERY SELECT 'did something when run again', NULL::int, NULL::bigint, NULL::date;
		END IF;
		-- What is effective on a day begins with it, whatever the clocks do.
		RETURN QUERY SELECT 'not at the start of its day', e.segment_id, e.customer_id, NULL::date FROM customer_groups.events e
			JOIN customer_groups.segments s ON s.id = e.segment_id
			WHERE e.id > last AND s.pending_since IS NULL
				AND (((e.detail ->> 'effective_at')::timestamptz - interval '1 us') AT TIME ZONE customer_groups.settings_timezone())::date
					= ((e.detail ->> 'effective_at')::timestamptz AT TIME ZONE customer_groups.settings_timezone())::date;
	END
	$$;
});
is(run('TABLE test.problems'), '', 'filled, and brought up to today');

# ---------------------------------------------------------------------------------------------
# What happens in a day
# ---------------------------------------------------------------------------------------------

my $moment = '(SELECT day FROM test.clock) + ';
my $zone = 0;
my $names = 0;

sub pick { return $_[ int(rand(@_)) ] }

# A time of the simulated day, often in its first hours, or some days away.
sub sold_at
{
	my $day = pick(0, 0, 0, -int(rand(10)), -int(rand(120)), int(rand(3)));
	my $minute = rand() < 0.3 ? int(rand(150)) : int(rand(1440));
	return "(((SELECT day FROM test.clock) + $day)::timestamp + interval '$minute minutes') AT TIME ZONE settings_timezone()";
}

sub sale
{
	my ($customer) = @_;
	my $kind = pick(('product') x 6, 'refund', 'prepaid', 'pass', 'no_show');
	my $amount = $kind eq 'refund' ? -int(rand(30)) : int(rand(60));
	return "($customer, '$kind', $amount, " . sold_at() . ')';
}

# Customers are chosen by place, so that nobody must know who is left.
sub customer { return '(SELECT id FROM customers ORDER BY id OFFSET ' . int(rand(75)) . ' % (SELECT count(*) FROM customers) LIMIT 1)' }
sub some_sale { return '(customer_id, id) = (SELECT customer_id, id FROM sales ORDER BY md5(id::text || ' . int(rand(1000)) . ') LIMIT 1)' }
sub day { return "(SELECT day FROM test.clock) + ($_[0])" }

my @happenings = (
	[ 8, sub { 'INSERT INTO sales (customer_id, kind, amount, sold_at) VALUES ' . join ', ', map { sale(customer()) } 0 .. int(rand(4)) } ],
	[ 6, sub {
		'WITH s AS (INSERT INTO sales (customer_id, kind, amount, sold_at) VALUES ' . sale(customer()) . ' RETURNING customer_id, id)
		INSERT INTO sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) SELECT customer_id, id, i, 1 + (id + i * i) % 8, i, 5 FROM s, generate_series(1, 3) AS i' } ],
	[ 2, sub { 'UPDATE sales SET sold_at = ' . sold_at() . ' WHERE ' . some_sale() } ],
	[ 2, sub { "UPDATE sales SET amount = 1 + abs(amount), kind = 'product' WHERE " . some_sale() } ],
	[ 3, sub { 'DELETE FROM sales WHERE ' . some_sale() } ],
	[ 1, sub { 'UPDATE sale_lines SET item_id = 1 + item_id % 8, quantity = quantity + 1 WHERE customer_id = ' . customer() } ],
	[ 1, sub { 'DELETE FROM sale_lines WHERE customer_id = ' . customer() . ' AND line_no = 2' } ],
	[ 2, sub { 'UPDATE customers SET birth_date = ' . pick('NULL', "'1980-02-29'", day(-9000 + int(rand(20)))) . ' WHERE id = ' . customer() } ],
	[ 2, sub { 'UPDATE customers SET attributes = ' . pick("'{}'", "attributes || '{\"vip\": \"yes\"}'", "attributes - 'vip' || '{\"city\": 1}'", "'{\"name\": \"y\", \"n\": 50}'", "'{\"letters\": true}'", "'{\"letters\": false}'") . ' WHERE id = ' . customer() } ],
	[ 1, sub { 'UPDATE customers SET registered_at = ' . sold_at() . ' WHERE id IN (' . customer() . ', ' . customer() . ')' } ],
	[ 1, sub { 'INSERT INTO customers (registered_at, birth_date, attributes) VALUES (' . sold_at() . ', ' . day(-10000) . ", '{\"city\": 1}'), (DEFAULT, NULL, '{}')" } ],
	[ 1, sub { 'DELETE FROM customers WHERE id = (SELECT max(id) FROM customers c WHERE NOT EXISTS (SELECT FROM sales s WHERE s.customer_id = c.id)) AND id > 20' } ],
	[ 1, sub { 'WITH gone AS (SELECT ' . customer() . ' AS id), s AS (DELETE FROM sales USING gone WHERE customer_id = gone.id) DELETE FROM customers USING gone WHERE customers.id = gone.id AND gone.id > 20' } ],
	[ 3, sub {
		my $from = int(rand(20)) - 10;
		'INSERT INTO members (customer_id, group_id, valid_from, valid_until) SELECT c, (SELECT id FROM groups WHERE name = '
			. pick("'Club'", "'Summer'", "'Gold'") . '), ' . pick('NULL', day($from)) . ', ' . pick('NULL', day($from + int(rand(40))))
			. ' FROM (SELECT DISTINCT c FROM unnest(ARRAY[' . customer() . ', ' . customer() . ']) AS c) AS u ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_from = excluded.valid_from, valid_until = excluded.valid_until' } ],
	[ 1, sub { 'DELETE FROM members WHERE customer_id = ' . customer() } ],
	[ 1, sub { 'UPDATE members SET valid_until = greatest(valid_from, ' . day(int(rand(10)) - 5) . ') WHERE customer_id = ' . customer() } ],
	[ 1, sub {
		'MERGE INTO members m USING (SELECT ' . customer() . " AS c, id AS g FROM groups WHERE name = 'Club') AS s ON m.customer_id = s.c AND m.group_id = s.g
		WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (customer_id, group_id) VALUES (s.c, s.g)" } ],
	# Definitions.
	[ 0.3, sub { "UPDATE groups SET starts_on = least(ends_on, " . day(int(rand(20)) - 10) . ") WHERE name = 'Summer'" } ],
	[ 0.3, sub { "UPDATE groups SET ends_on = greatest(starts_on, " . day(int(rand(30))) . ") WHERE name IN ('Summer', 'Silver')" } ],
	[ 0.2, sub { "UPDATE groups SET ends_on = NULL WHERE name = 'Silver'" } ],
	[ 0.2, sub { 'UPDATE categories SET parent_id = ' . pick('NULL', 1, 2) . ' WHERE id = ' . pick(3, 4) } ],
	[ 0.2, sub { 'UPDATE items SET brand_id = 3 - brand_id WHERE id = ' . (1 + int(rand(8))) } ],
	[ 0.2, sub { 'UPDATE item_categories SET category_id = 1 + category_id % 4 WHERE item_id = ' . (1 + int(rand(8))) } ],
	[ 0.3, sub { "UPDATE segments SET rule = " . pick("'days_since(last_visit) >= 20'", "'days_since(last_visit) BETWEEN 10 AND 30'") . " WHERE name = 'Dormant'" } ],
	[ 0.3, sub { "UPDATE segments SET rule = " . pick("'visits IN LAST 6 DAYS >= 1'", "'net_sales > 50'", "\$\$bought ITEM 'item-2' >= 1\$\$") . " WHERE name = 'Parts'" } ],
	[ 0.4, sub { 'UPDATE segments SET tracked = NOT tracked WHERE name IN (' . join(', ', map { "'$_'" } pick('Lately', 'Cups', 'Tier'), pick('Soon', 'Often')) . ')' } ],
	[ 0.2, sub { $names++; "INSERT INTO segments (code, name, tracked, rule) VALUES ('extra-$names', 'Extra', true, 'visits IN LAST 9 DAYS = 0 AND registered WITHIN 300 DAYS')" } ],
	[ 0.2, sub { "DELETE FROM segments WHERE id = (SELECT min(id) FROM segments WHERE name = 'Extra')" } ],
	[ 0.1, sub { $zone++; "UPDATE settings SET timezone = '" . ('America/Havana', 'Asia/Kathmandu', 'America/Santiago', 'America/Havana')[ $zone % 4 ] . q{'} } ]);
my $weight = 0;
$weight += $_->[0] for @happenings;

sub happening
{
	my $at = rand($weight);
	for (@happenings)
	{
		return $_->[1]->() if ($at -= $_->[0]) < 0;
	}
	return $happenings[0][1]->();
}

# Nothing that only gives something another code makes a segment pending.
my @renames = (
	q{UPDATE groups SET code = 'club-' || md5(code) WHERE name = 'Club'}, q{UPDATE groups SET code = 'gold-' || md5(code) WHERE name = 'Gold'},
	q{UPDATE ladders SET code = 'often-' || md5(code)}, q{UPDATE categories SET code = code || '!' WHERE name = 'Cups'},
	q{UPDATE brands SET code = code || '!' WHERE name = 'Acme'}, q{UPDATE items SET external_id = external_id || '!' WHERE id = 1},
	q{UPDATE segments SET code = code || '!' WHERE name IN ('Soon', 'Parts')});

# ---------------------------------------------------------------------------------------------
# The year
# ---------------------------------------------------------------------------------------------

# In the second winter nothing is tracked but what follows from the facts: then advance_segments() does not read what is stored.
my $winter = $days - 100;
my $facts_only = q{UPDATE segments SET tracked = false WHERE tracked
	AND name NOT IN ('All', 'Often', 'Back', 'Dormant', 'Week', 'New', 'Early', 'Today', 'Soon', 'Month'); CALL fill_segments()};
my $steps = 0;
my (%wrong, $happened);
for (my $day = 0; $day < $days;)
{
	my $nights = pick(1, 1, 1, 2, 5);
	my @done;

	$day += $nights;
	push @done, $facts_only if $day >= $winter;
	push @done, "SELECT * FROM test.advance($nights)";
	for (0 .. int(rand(8)))
	{
		my $sql = happening();

		if (rand() < 0.1) { push @done, 'BEGIN', 'SAVEPOINT s', happening(), $sql, 'ROLLBACK TO s', happening(), 'COMMIT' }
		elsif (rand() < 0.2) { push @done, 'BEGIN ISOLATION LEVEL ' . pick('REPEATABLE READ', 'SERIALIZABLE'), $sql, happening(), 'COMMIT' }
		else { push @done, $sql }
	}
	# A fill may wait for some days.
	push @done, 'CALL fill_segments(' . pick(1, 10, 1000) . ')' if rand() < 0.6;
	if (rand() < 0.1)
	{
		push @done, 'CREATE TEMP TABLE pending AS SELECT id, pending_since FROM segments', pick(@renames),
			'SELECT * FROM (SELECT id, pending_since FROM segments EXCEPT TABLE pending) p', 'DROP TABLE pending';
	}
	push @done, 'TABLE test.problems';
	push @done, 'SELECT * FROM check_integrity()' if $steps++ % 10 == 0;
	my $result = run(join ";\n", @done);
	$happened += @done;
	next if $result eq '';
	fail("day $day");
	diag(join(";\n", @done), "\n", substr($result, 0, 3000));
	last if ++$wrong{steps} == 3;
}
ok(!%wrong, "each day: events as evaluated day by day, stored members as evaluated and as replayed ($steps steps, $happened statements)");
run(q{UPDATE segments SET tracked = true WHERE name <> 'Parts'; CALL fill_segments()});
is(run('SELECT count(*) FROM segments WHERE pending_since IS NOT NULL'), '0', 'nothing is pending in the end');
is(run('TABLE test.problems'), '', 'all segments are as evaluated in the end');
cmp_ok(run(q{SELECT min(n) FROM (SELECT count(e.id) AS n FROM segments s LEFT JOIN events e ON e.segment_id = s.id WHERE s.tracked AND s.name NOT IN ('All', 'Extra') GROUP BY s.id) c}),
	'>', 20, 'each segment was entered and left');

# ---------------------------------------------------------------------------------------------
# History, and a dump
# ---------------------------------------------------------------------------------------------

is(run('SELECT s.code, h.size, c.n FROM segments s JOIN LATERAL (SELECT size FROM segment_history h WHERE h.segment_id = s.id ORDER BY day DESC LIMIT 1) h ON true
	JOIN LATERAL (SELECT count(*) AS n FROM segment_members m WHERE m.segment_id = s.id) c ON true WHERE s.tracked AND h.size <> c.n'), '',
	'the last size in segment_history is the present one');

my $dump = $node->basedir . '/shop.sql';
$node->command_ok([ 'pg_dump', '-U', 'shop_owner', '-N', 'test', '-f', $dump, '-d', $node->connstr('shop') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored OWNER shop_owner');
$node->command_ok([ 'psql', '-XqU', 'shop_owner', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restore');
is(Shop::contents($node, 'restored'), Shop::contents($node, 'shop'), 'a restored dump holds the same rows');

my $next = q{
	SET search_path = customer_groups;
	SELECT advance_segments((t.reached_on + 9)::timestamptz) FROM segment_tracking t;
	INSERT INTO sales (customer_id, amount, sold_at) SELECT id, 40, (SELECT reached_on FROM segment_tracking) - 3 FROM customers WHERE id % 3 = 0;
	SELECT kind, segment_id, customer_id FROM events WHERE kind LIKE 'segment%' ORDER BY id};
is(Shop::sql($node, 'restored', $next), Shop::sql($node, 'shop', $next), 'and goes on in the same way');
Shop::sound($node, $_, "$_ is sound") for 'shop', 'restored';

$session->quit;
done_testing();
