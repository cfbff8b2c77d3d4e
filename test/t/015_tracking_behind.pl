# Tracked segments when a night was missed: whatever statement comes to a customer first, its events are those of judging day by day the
# state before the statement, and then the state after it. advance_segments() and fill_segments() are killed and repeated, run twice at
# once, and meet rules, customers and other segments that change meanwhile, and stored members that somebody has changed by hand;
# nothing that a caller puts into its search_path is called.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $node = Shop::server('main');
$node->append_conf('postgresql.conf', "autovacuum = off\njit = off");
$node->start;
Shop::create($node, 'shop');
$node->safe_psql('shop', 'CREATE ROLE seller; CREATE ROLE clerk; GRANT seller, clerk TO shop_owner');

my $session = Shop::Session->new($node, 'shop');

sub run
{
	my ($sql) = @_;
	my $result = $session->query($sql);
	die("$sql\n$result") if $result =~ /^psql:.*(?:ERROR|FATAL|server closed)/m;
	return $result;
}

# It is noon in the shop, so that no day ends meanwhile.
my $zone = sprintf 'Etc/GMT%+d', (gmtime)[2] - 12;
run(qq{
	SET search_path = customer_groups;
	SET client_min_messages = error;
	SET timezone = '$zone';
	INSERT INTO settings (timezone) VALUES ('$zone')});
run(q{
	CREATE SCHEMA test;
	SELECT grant_access('seller', 'sell'), grant_access('clerk', 'members');
	INSERT INTO groups (code, name, starts_on, upgrade_threshold) VALUES ('club', 'Club', '2000-01-01', NULL), ('gold', 'Gold', '2000-01-01', 300);
	INSERT INTO items (external_id, name) SELECT 'item-' || i, 'Item' FROM generate_series(1, 3) AS i;
	INSERT INTO customers (registered_at, birth_date, attributes)
	SELECT now() - i * interval '19 hours', current_date - 12000 + i / 3, jsonb_build_object('city', i % 4) FROM generate_series(1, 40) AS i;
	INSERT INTO sales (customer_id, kind, amount, sold_at)
	SELECT c, CASE WHEN i = 3 THEN 'refund' ELSE 'product' END::sale_kind, CASE WHEN i = 3 THEN -1 ELSE 10 END, now() - (c % 9 + i * 5) * interval '1 day'
	FROM generate_series(1, 40) AS c, generate_series(0, 3) AS i WHERE c <> 13;
	INSERT INTO sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) SELECT customer_id, id, 1, 1 + id % 3, 1, 1 FROM sales WHERE amount > 0;
	INSERT INTO members (customer_id, group_id, valid_from, valid_until) SELECT c, 1, current_date - 4 - c % 7, current_date + 5 - c % 9 FROM generate_series(1, 40, 2) AS c;
	INSERT INTO segments (code, name, tracked, rule) VALUES
		('lately', 'Lately', true, 'visits IN LAST 4 DAYS >= 1'),
		('money', 'Money', true, 'net_sales IN LAST 8 DAYS BETWEEN 5 AND 15 OR refunds IN LAST 11 DAYS >= 1'),
		('dormant', 'Dormant', true, 'days_since(last_visit) >= 5'),
		('new', 'New', true, 'registered WITHIN 9 DAYS AND visits >= 1'),
		('soon', 'Soon', true, 'birthday WITHIN NEXT 3 DAYS OR birthday TODAY'),
		('item', 'Item', true, $$bought ITEM 'item-1' IN LAST 7 DAYS >= 1$$),
		('clubber', 'Clubber', true, $$member OF 'club' OR tier OF 'default' = 'gold'$$),
		('city', 'City', true, $$attribute 'city' IN (1, 9) AND in SEGMENT 'lately'$$),
		('rich', 'Rich', true, 'net_sales > 200'),
		('all', 'All', true, 'ALL');
	CALL fill_segments();

	CREATE FUNCTION test.noon(day date) RETURNS timestamptz LANGUAGE sql AS $$
		SELECT (day + time '12:00') AT TIME ZONE customer_groups.settings_timezone() $$;
	CREATE FUNCTION test.evaluate(day date) RETURNS TABLE (segment_id int, customer_id bigint) LANGUAGE sql AS $$
		SELECT s.id, l.customer_id
		FROM customer_groups.labels_of(ARRAY(SELECT id FROM customer_groups.customers), test.noon(day)) l
		CROSS JOIN jsonb_array_elements(l.labels) x
		JOIN customer_groups.segments s ON s.code = x ->> 'code'
		WHERE s.tracked AND s.pending_since IS NULL $$;

	-- As if n days ago had been the last day on which anything was judged; what is to come is noted down.
	CREATE TABLE test.expected (customer_id bigint, segment_id int, day date, moment boolean, kind text);
	CREATE TABLE test.present (segment_id int, customer_id bigint);
	CREATE FUNCTION test.back(n int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		d0 date := current_date - n;
	BEGIN
		ALTER TABLE customer_groups.events DISABLE TRIGGER refuse_change;
		DELETE FROM customer_groups.events WHERE kind LIKE 'segment%';
		ALTER TABLE customer_groups.events ENABLE TRIGGER refuse_change;
		DELETE FROM customer_groups.segment_members;
		INSERT INTO customer_groups.segment_members SELECT e.*, test.noon(d0) FROM test.evaluate(d0) e;
		INSERT INTO customer_groups.events (kind, customer_id, segment_id, detail)
		SELECT 'segment_entered', customer_id, segment_id, jsonb_build_object('effective_at', entered_at) FROM customer_groups.segment_members;
		-- One way or the other.
		DELETE FROM customer_groups.segment_tracking;
		UPDATE customer_groups.customer_facts SET tracked_on = d0 - n % 2 * 30;
		INSERT INTO customer_groups.segment_tracking (reached_on) SELECT d0 WHERE n % 2 = 1;

		TRUNCATE test.expected, test.present;
		INSERT INTO test.present SELECT * FROM test.evaluate(current_date);
		WITH inside AS MATERIALIZED (
			SELECT e.segment_id, e.customer_id, d0 + i AS day FROM generate_series(0, n) AS i, test.evaluate(d0 + i) e)
		INSERT INTO test.expected
		SELECT x.customer_id, x.segment_id, x.day, false, 'segment_entered'
		FROM (SELECT i.segment_id, i.customer_id, i.day FROM inside i WHERE i.day > d0
			  EXCEPT SELECT i.segment_id, i.customer_id, i.day + 1 FROM inside i) x
		UNION ALL SELECT x.customer_id, x.segment_id, x.day, false, 'segment_left'
		FROM (SELECT i.segment_id, i.customer_id, i.day + 1 AS day FROM inside i WHERE i.day < current_date
			  EXCEPT SELECT i.segment_id, i.customer_id, i.day FROM inside i) x;
	END
	$$;

	-- What differs from that, and from what the statement has changed since; for the customers that it came to.
	CREATE FUNCTION test.differences(touched bigint[]) RETURNS TABLE (problem text, customer_id bigint, segment_id int, day date, moment boolean, kind text) LANGUAGE plpgsql AS $$
	BEGIN
		CREATE TEMP TABLE expected ON COMMIT DROP AS
		SELECT * FROM test.expected e WHERE e.customer_id = ANY (touched) OR touched IS NULL
		UNION ALL SELECT x.customer_id, x.segment_id, current_date, true, 'segment_entered'
		FROM (SELECT * FROM test.evaluate(current_date) EXCEPT TABLE test.present) x
		UNION ALL SELECT x.customer_id, x.segment_id, current_date, true, 'segment_left'
		FROM (TABLE test.present EXCEPT SELECT * FROM test.evaluate(current_date)) x;
		CREATE TEMP TABLE written ON COMMIT DROP AS
		SELECT e.customer_id, e.segment_id, t.at::date AS day, t.at <> t.at::date AS moment, e.kind
		FROM customer_groups.events e CROSS JOIN LATERAL (SELECT (e.detail ->> 'effective_at')::timestamptz AS at) t
		WHERE e.kind IN ('segment_entered', 'segment_left') AND e.detail ? 'code';
		RETURN QUERY SELECT 'too little', x.* FROM (TABLE expected EXCEPT ALL TABLE written) x;
		RETURN QUERY SELECT 'too much', x.* FROM (TABLE written EXCEPT ALL TABLE expected) x;
		RETURN QUERY SELECT i.problem || ' ' || i.detail, i.customer_id, NULL::int, NULL::date, NULL::boolean, NULL FROM customer_groups.check_integrity() i;
	END
	$$;
});

# ---------------------------------------------------------------------------------------------
# Each kind of statement, some days late
# ---------------------------------------------------------------------------------------------

my $days = 3;

# The statements are undone afterwards, unless they commit themselves.
sub late
{
	my ($name, $touched, $sql, $level) = @_;
	$level //= 'READ COMMITTED';
	$days = 3 + ($days - 2) % 8;
	run("SELECT test.back($days)");
	my $result = run("BEGIN ISOLATION LEVEL $level;\n$sql;\n\\echo differences:\nSELECT * FROM test.differences($touched);\nROLLBACK");
	$result =~ s/.*^differences:\n?//ms;
	is($result, '', "$name, $days days late");
	return;
}

my $some = "'{2,3,5,8,11,13,17,30}'";
my $sale = "INSERT INTO sales (customer_id, amount) SELECT unnest(CAST($some AS bigint[])), 40";
late('nothing', "'{}'", 'SELECT 1');
late('a sale', $some, $sale);
late('a sale at REPEATABLE READ', $some, "SELECT FROM sales; $sale", 'REPEATABLE READ');
late('a sale at SERIALIZABLE', $some, "SELECT FROM sales; $sale", 'SERIALIZABLE');
late('a sale that makes gold', $some, "INSERT INTO sales (customer_id, amount) SELECT unnest(CAST($some AS bigint[])), 400");
late('back-dated sales', $some, "INSERT INTO sales (customer_id, amount, sold_at) SELECT c, 40, now() - d * interval '1 day' FROM unnest(CAST($some AS bigint[])) c, generate_series(1, 9, 2) d");
late('sales to come', $some, "INSERT INTO sales (customer_id, amount, sold_at) SELECT c, 40, now() + interval '2 days' FROM unnest(CAST($some AS bigint[])) c");
late('two sales', $some, "$sale; $sale");
late('a sale in a savepoint that is rolled back', $some, "SAVEPOINT s; $sale; ROLLBACK TO s; $sale");
late('nothing but a savepoint that is rolled back', "'{}'", "SAVEPOINT s; $sale; ROLLBACK TO s");
late('sales deleted with their lines', $some, "DELETE FROM sales WHERE customer_id = ANY ($some)");
late('sales moved to today', $some, "UPDATE sales SET sold_at = now() WHERE customer_id = ANY ($some)");
late('sales merged', $some, "MERGE INTO sales s USING (SELECT unnest(CAST($some AS bigint[])) AS c) x ON s.customer_id = x.c AND s.id % 3 = 0
	WHEN MATCHED THEN UPDATE SET amount = s.amount * 2 WHEN NOT MATCHED THEN INSERT (customer_id, amount) VALUES (x.c, 3)");
late('lines', $some, "INSERT INTO sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) SELECT customer_id, id, 2, 1, 1, 1 FROM sales WHERE customer_id = ANY ($some)");
late('lines of another item', $some, "UPDATE sale_lines SET item_id = 1 WHERE customer_id = ANY ($some)");
late('lines deleted', $some, "DELETE FROM sale_lines WHERE customer_id = ANY ($some)");
late('attributes', $some, "UPDATE customers SET attributes = '{\"city\": 9}' WHERE id = ANY ($some)");
late('birthdays', $some, "UPDATE customers SET birth_date = current_date - interval '30 years' WHERE id = ANY ($some)");
late('registered otherwise', $some, "UPDATE customers SET registered_at = registered_at - interval '9 days' WHERE id = ANY ($some)");
late('another name changes nothing', "'{}'", "UPDATE customers SET name = 'x'");
late('new customers', "'{}'", "INSERT INTO customers (birth_date) VALUES (current_date), (NULL)");
late('a customer deleted with its sales', "'{}'", "DELETE FROM customers WHERE id = 13; SELECT FROM test.present");
late('memberships', $some, "INSERT INTO members (customer_id, group_id) SELECT unnest(CAST($some AS bigint[])), 1 ON CONFLICT DO NOTHING; SELECT lock_customers($some); SELECT track_customers($some)");
late('memberships prolonged or added', $some, "INSERT INTO members (customer_id, group_id) SELECT unnest(CAST($some AS bigint[])), 1 ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_until = NULL, valid_from = NULL");
late('memberships changed', "ARRAY(SELECT customer_id FROM members WHERE group_id = 1)", 'UPDATE members SET valid_until = current_date - 1, valid_from = NULL');
late('a tier by hand', $some, "INSERT INTO members (customer_id, group_id) SELECT unnest(CAST($some AS bigint[])), 2");
late('sales, lines, memberships and attributes in one statement', $some,
	"WITH c AS (SELECT unnest(CAST($some AS bigint[])) AS id), s AS (INSERT INTO sales (customer_id, amount) SELECT id, 400 FROM c RETURNING *),
	l AS (INSERT INTO sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) SELECT customer_id, id, 1, 1, 1, 1 FROM s),
	u AS (UPDATE customers SET attributes = '{\"city\": 9}' FROM c WHERE customers.id = c.id)
	INSERT INTO members (customer_id, group_id) SELECT id, 1 FROM c ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_from = NULL, valid_until = NULL");
late('COPY', $some, join "\n", 'COPY sales (customer_id, amount) FROM stdin;', (map { "$_\t7" } 2, 3, 5, 8, 11, 13, 17, 30), '\.', 'SELECT FROM sales LIMIT 0');
late('an advance', 'NULL', 'SELECT advance_segments()');
late('an advance, and another', 'NULL', 'SELECT advance_segments(); SELECT advance_segments()');
late('a sale, and an advance', 'NULL', "$sale; SELECT advance_segments()");
late('an advance, and a sale', 'NULL', "SELECT advance_segments(); $sale");
late('facts rebuilt', 'NULL', 'SELECT rebuild_facts()');
late('a role that may only sell', $some, "SET LOCAL ROLE seller; $sale; RESET ROLE");
late('a role that may only change members', "'{5}'", "SET LOCAL ROLE clerk; UPDATE customers SET attributes = '{\"city\": 9}' WHERE id = 5; INSERT INTO members (customer_id, group_id) VALUES (5, 2); RESET ROLE");

# A shop's own triggers, before and after ours.
run(q{
	CREATE FUNCTION test.enroll() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO customer_groups.members (customer_id, group_id) VALUES (NEW.customer_id, 1)
		ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_from = NULL, valid_until = NULL;
		UPDATE customer_groups.customers SET attributes = '{"city": 9}' WHERE id = NEW.customer_id;
		RETURN NEW;
	END $$;
	CREATE TRIGGER enroll BEFORE INSERT ON sales FOR EACH ROW EXECUTE FUNCTION test.enroll()});
late('a trigger that enrolls before a sale', $some, $sale);
run('DROP TRIGGER enroll ON sales; CREATE TRIGGER enroll AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION test.enroll()');
# It sees the sale before it is booked, so that for this day the state in between counts, too; the end is what it must be.
run("SELECT test.back(7); $sale");
is(run('SELECT * FROM check_integrity()'), '', 'a trigger that enrolls after a sale');
run('DROP TRIGGER enroll ON sales');

# A trigger on what the engine writes, which asks the engine under the older snapshot of its transaction.
run(q{
	CREATE TABLE test.said (labels text);
	CREATE FUNCTION test.say() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO test.said SELECT string_agg(code, ',') FROM customer_groups.segments_of(NEW.customer_id);
		RETURN NULL;
	END $$;
	CREATE TRIGGER say AFTER INSERT ON events FOR EACH ROW WHEN (NEW.kind ~ '^segment') EXECUTE FUNCTION test.say();
	CREATE TRIGGER say AFTER INSERT ON segment_members FOR EACH ROW EXECUTE FUNCTION test.say()});
late('a trigger that asks for labels', $some, $sale);
run('SELECT test.back(6)');
run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM sales');
{
	my $other = Shop::Session->new($node, 'shop');
	$other->query("INSERT INTO customer_groups.segments (code, name, position, rule) SELECT 'more-' || i, 'More', -i, 'visits > 1' FROM generate_series(1, 500) AS i");
	is(run("$sale; COMMIT; SELECT count(*) > 0 FROM test.said; SELECT * FROM check_integrity()"), 't', 'under a snapshot that is older than 500 segments');
	$other->query(q{DELETE FROM customer_groups.segments WHERE name = 'More'});
	$other->quit;
}
run('DROP TRIGGER say ON events; DROP TRIGGER say ON segment_members');

# ---------------------------------------------------------------------------------------------
# Killed, and twice at once
# ---------------------------------------------------------------------------------------------

my ($one, $two, $three) = map { Shop::Session->new($node, 'shop') } 1 .. 3;
$_->query("SET search_path = customer_groups; SET client_min_messages = error; SET timezone = '$zone'") for $one, $two, $three;

sub wait_for_lock
{
	my ($pid) = @_;
	$node->poll_query_until('shop', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid") or die 'it does not wait';
	return;
}
# Waits for what a session was sent, and returns it.
sub finished
{
	my ($it) = @_;
	$it->{psql}->pump until $it->{out} =~ /^== done ==\n/m;
	return $it->{out} =~ s/\n?== done ==\n//r;
}
sub kill_it
{
	my ($pid) = @_;
	run("SET ROLE none");
	$node->safe_psql('shop', "SELECT pg_terminate_backend($pid)");
	$node->poll_query_until('shop', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)") or die 'it does not end';
	return;
}

my $pid;
my $pending = 'SELECT string_agg(code, $$,$$ ORDER BY code) FROM segments WHERE pending_since IS NOT NULL';
run('SELECT test.back(5)');
$one->query('BEGIN; SELECT FROM customer_facts WHERE customer_id = 30 FOR UPDATE');
$pid = $two->query('SELECT pg_backend_pid()');
$two->send('SELECT advance_segments()');
wait_for_lock($pid);
kill_it($pid);
$one->query('COMMIT');
is(run("SELECT * FROM test.differences('{}')"), '', 'an advance that is killed leaves nothing');
$two = Shop::Session->new($node, 'shop');
$two->query("SET search_path = customer_groups; SET client_min_messages = error; SET timezone = '$zone'");

$one->query('BEGIN; SELECT FROM customer_facts WHERE customer_id = 30 FOR UPDATE');
like(run("SET statement_timeout = '300ms'; SELECT 1") . $session->query('SELECT advance_segments()'), qr/statement timeout/, 'an advance that takes too long is cancelled');
run('RESET statement_timeout');
is(run("SELECT * FROM test.differences('{}')"), '', 'and leaves nothing');
$pid = $two->query('SELECT pg_backend_pid()');
$two->send('SELECT advance_segments()');
wait_for_lock($pid);
$three->send('SELECT advance_segments()');
wait_for_lock($node->safe_psql('shop', "SELECT pid FROM pg_stat_activity WHERE query ~ '^SELECT advance' AND pid <> $pid AND state = 'active'"));
$one->query('COMMIT');
cmp_ok(finished($two), '>', 20, 'the next advance does it all');
is(finished($three), '0', 'and one at the same time nothing');
is(run('SELECT * FROM test.differences(NULL)'), '', 'as if day by day');

# Everybody is held, and let go one after the other: the advance begins again each time, and after some times waits for one more.
run('SELECT test.back(5)');
my @ids = split /\n/, run('SELECT id FROM customers ORDER BY id');
$one->query('BEGIN');
$one->query("SAVEPOINT s$_; SELECT FROM customer_facts WHERE customer_id = $_ FOR UPDATE") for reverse @ids;
$pid = $two->query('SELECT pg_backend_pid()');
$two->send('SELECT advance_segments()');
for my $id (@ids)
{
	$node->poll_query_until('shop', "SELECT wait_event_type = 'Lock' OR state = 'idle' FROM pg_stat_activity WHERE pid = $pid") or die 'it does not wait';
	$one->query("ROLLBACK TO s$id");
}
$one->query('COMMIT');
cmp_ok(finished($two), '>', 20, 'an advance past many who are held ends');
is(run('SELECT * FROM test.differences(NULL)'), '', 'as if nobody had been');

# What is stored has been changed by hand: who is to leave is out already, or who is to enter is in.
for my $by_hand (
	"WITH gone AS (DELETE FROM segment_members m USING test.expected e WHERE (m.customer_id, m.segment_id, 'segment_left') = (e.customer_id, e.segment_id, e.kind) RETURNING 1)
	SELECT count(*) > 3 FROM gone",
	"WITH come AS (INSERT INTO segment_members SELECT segment_id, customer_id, now() FROM test.expected WHERE kind = 'segment_entered' ON CONFLICT DO NOTHING RETURNING 1)
	SELECT count(*) > 3 FROM come")
{
	run(q{
		BEGIN;
		UPDATE segments SET tracked = false WHERE code NOT IN ('dormant', 'new', 'soon', 'rich', 'all');
		SELECT test.back(5)});
	is(run($by_hand), 't', 'stored members are changed by hand');
	cmp_ok(run('SELECT advance_segments()'), '>', 3, 'an advance ends all the same');
	is(run(q{SELECT * FROM check_integrity() WHERE problem = 'segment member differs from the rule'; ROLLBACK}), '', 'with stored members as they are to be');
}

# Everybody is judged in batches; the sale of customer 30 is not over.
run(q{UPDATE segments SET rule = 'visits IN LAST 5 DAYS >= 1' WHERE code IN ('lately', 'dormant')});
is(run($pending), 'city,dormant,lately', 'pending: those changed, and one that names one of them');
$one->query('BEGIN; SELECT FROM customer_facts WHERE customer_id = 30 FOR UPDATE');
$pid = $two->query('SELECT pg_backend_pid()');
$two->send('CALL fill_segments(7)');
wait_for_lock($pid);
cmp_ok(run("SELECT count(*) FROM events WHERE segment_id = (SELECT id FROM segments WHERE code = 'dormant') AND kind = 'segment_entered' AND customer_id < 28 AND (detail ->> 'effective_at')::timestamptz > now() - interval '1 hour'"),
	'>', 0, 'a fill commits its batches');
kill_it($pid);
$one->query('COMMIT');
is(run($pending), 'city,dormant,lately', 'when a fill is killed, all stay pending');
is(run('SELECT * FROM check_integrity()'), '', 'and sound');
$two = Shop::Session->new($node, 'shop');
$two->query("SET search_path = customer_groups; SET client_min_messages = error; SET timezone = '$zone'");

$one->query('BEGIN; SELECT FROM customer_facts WHERE customer_id = 30 FOR UPDATE');
$pid = $two->query('SELECT pg_backend_pid()');
$two->send('CALL fill_segments(7)');
wait_for_lock($pid);
run(q{
	UPDATE segments SET rule = 'visits IN LAST 6 DAYS >= 1' WHERE code = 'lately';
	INSERT INTO segments (code, name, tracked, rule) VALUES ('late', 'Late', true, 'net_sales > 45');
	INSERT INTO customers (id, registered_at) SELECT i, now() FROM generate_series(1001, 1030) AS i;
	INSERT INTO customers (id, registered_at) SELECT i, now() FROM generate_series(-30, -1) AS i;
	INSERT INTO sales (customer_id, amount) SELECT id, 50 FROM customers WHERE id % 10 = 7;
	UPDATE segments SET code = 'sleepy' WHERE code = 'dormant'});
$one->query('COMMIT');
is(finished($two), '', 'a fill ends');
is(run($pending), 'city,late,lately', 'what changed meanwhile stays pending; a new code does not matter');
is(run('SELECT * FROM check_integrity()'), '', 'what was filled is right');
run('CALL fill_segments(1000)');
is(run($pending), '', 'the next fill makes an end');
is(run('SELECT * FROM check_integrity()'), '', 'and all is right');

$_->send('CALL fill_segments(3)') for map { $_->query(q{UPDATE segments SET rule = 'visits IN LAST 7 DAYS >= 1' WHERE code = 'lately'}); $_ } $one, $two, $three;
is(join('', map { finished($_) } $one, $two, $three), '', 'three fills at once');
is(run("$pending; SELECT * FROM check_integrity()"), '', 'and all is right');

# Under another isolation level by default, a batch goes on with what a sale leaves.
run('ALTER ROLE shop_owner SET default_transaction_isolation = serializable');
$two->quit;
$two = Shop::Session->new($node, 'shop');
$two->query('SET search_path = customer_groups');
run('ALTER ROLE shop_owner RESET default_transaction_isolation');
run(q{UPDATE segments SET rule = 'visits IN LAST 8 DAYS >= 1' WHERE code = 'lately'});
$one->query('BEGIN; UPDATE customer_facts SET visits = visits WHERE customer_id = 30');
$pid = $two->query('SELECT pg_backend_pid()');
$two->send('CALL fill_segments()');
wait_for_lock($pid);
$one->query('COMMIT');
is(finished($two), '', 'a fill at SERIALIZABLE waits, and goes on');
is(run("$pending; SELECT * FROM check_integrity()"), '', 'and all is right');

# ---------------------------------------------------------------------------------------------
# What goes away
# ---------------------------------------------------------------------------------------------

run('BEGIN; DELETE FROM customers WHERE id > 1000 AND NOT EXISTS (SELECT FROM sales s WHERE s.customer_id = customers.id)');
run('WITH s AS (DELETE FROM sales WHERE customer_id = 1) DELETE FROM customers WHERE id = 1');
is(run('SELECT * FROM check_integrity()'), '', 'customers go with what is stored of them');
run('TRUNCATE segments CASCADE');
is(run('SELECT * FROM check_integrity()'), '', 'segments go with what is stored in them');
is(run('SELECT count(*) FROM segment_members; ROLLBACK'), '0', 'all of it');
run(q{UPDATE segments SET tracked = false});
is(run('SELECT count(*) FROM segment_members; SELECT * FROM check_integrity()'), '0', 'nothing is stored of what is not tracked');
run('UPDATE segments SET tracked = true; CALL fill_segments()');

# In St. John's clocks were put back from 0:01 on 2010-11-07: a part of the day before came after midnight.
run(q{
	BEGIN;
	UPDATE settings SET timezone = 'America/St_Johns';
	INSERT INTO customers (id, registered_at) VALUES (7001, '2010-11-07 02:30:30+00'), (7002, '2010-11-07 02:45+00'), (7003, '2010-11-07 03:45+00');
	DO $$ BEGIN EXECUTE format($f$UPDATE segments SET rule = 'registered WITHIN %s DAYS' WHERE code = 'new'$f$,
		(now() AT TIME ZONE 'America/St_Johns')::date - date '2010-11-06'); END $$;
	COMMIT;
	CALL fill_segments();
	SELECT advance_segments()});
is(run(q{SELECT customer_id FROM segment_members WHERE customer_id > 7000 AND segment_id = (SELECT id FROM segments WHERE code = 'new') ORDER BY 1}), "7001\n7002\n7003", 'a day in two pieces');
run(q{SELECT advance_segments(now() + interval '1 day')});
is(run(q{SELECT customer_id FROM segment_members WHERE customer_id > 7000 AND segment_id = (SELECT id FROM segments WHERE code = 'new') ORDER BY 1;
	SELECT * FROM check_integrity()}), "7001\n7003", 'and both have passed a day later');
run(qq{UPDATE settings SET timezone = '$zone'; DELETE FROM segment_tracking; UPDATE customer_facts SET tracked_on = current_date;
	UPDATE segments SET rule = 'registered WITHIN 9 DAYS AND visits >= 1' WHERE code = 'new'; UPDATE segments SET tracked = false; UPDATE segments SET tracked = true; CALL fill_segments()});

# ---------------------------------------------------------------------------------------------
# Another search_path
# ---------------------------------------------------------------------------------------------

run(q{
	CREATE SCHEMA evil;
	DO $$
	DECLARE
		t text;
		o text;
	BEGIN
		FOREACH t IN ARRAY '{bigint,int,date,text,timestamptz,boolean,numeric}'::text[] LOOP
			EXECUTE pg_catalog.format('CREATE FUNCTION evil.boom(%1$s, %1$s) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN RAISE ''boom''; END $f$', t);
			FOREACH o IN ARRAY '{=,<>,<,<=,>,>=}'::text[] LOOP
				EXECUTE pg_catalog.format('CREATE OPERATOR evil.%s (FUNCTION = evil.boom, LEFTARG = %s, RIGHTARG = %2$s)', o, t);
			END LOOP;
		END LOOP;
		FOREACH t IN ARRAY ARRAY['unnest(anyarray)', 'max(anyelement)', 'min(anyelement)', 'array_agg(anyelement)', 'count(anyelement)',
			'jsonb_build_object(text, anyelement)', 'timezone(text, timestamptz)', 'now()', 'clock_timestamp()'] LOOP
			EXECUTE pg_catalog.format('CREATE FUNCTION evil.%s RETURNS text LANGUAGE plpgsql AS $f$ BEGIN RAISE ''boom''; END $f$', t);
		END LOOP;
	END $$;
	CREATE TABLE evil.sales (); CREATE TABLE evil.customer_facts (); CREATE TABLE evil.segment_members (); CREATE TABLE evil.events ();
	INSERT INTO categories (id, code, name) VALUES (1, 'a', 'A'), (2, 'b', 'B');
	INSERT INTO item_categories (item_id, category_id) VALUES (1, 2);
	INSERT INTO segments (code, name, tracked, rule) VALUES ('cat', 'Cat', true, $$bought CATEGORY 'a' >= 1$$);
	CALL fill_segments();
	SELECT test.back(6)});
$three->query(q{SET search_path = evil, pg_catalog, customer_groups});
is($three->query(q{
	INSERT INTO customer_groups.sales (customer_id, amount) VALUES (2, 400), (3, 1);
	INSERT INTO customer_groups.members (customer_id, group_id) VALUES (3, 2);
	DELETE FROM customer_groups.members;
	INSERT INTO customer_groups.customers (id) VALUES (5001);
	DELETE FROM customer_groups.customers WHERE id OPERATOR(pg_catalog.=) 5001;
	UPDATE customer_groups.customers SET attributes = '{}';
	UPDATE customer_groups.sale_lines SET quantity = 3;
	UPDATE customer_groups.categories SET parent_id = 1 WHERE id OPERATOR(pg_catalog.=) 2;
	UPDATE customer_groups.item_categories SET category_id = 1;
	UPDATE customer_groups.groups SET ends_on = '2200-01-01';
	UPDATE customer_groups.settings SET timezone = 'UTC';
	CALL customer_groups.fill_segments();
	UPDATE customer_groups.segments SET rule = 'visits > 3' WHERE code OPERATOR(pg_catalog.=) 'cat';
	UPDATE customer_groups.segments SET tracked = false WHERE code OPERATOR(pg_catalog.=) 'rich';
	CALL customer_groups.fill_segments(5)}), '', 'no statement of the engine finds what a search_path puts before pg_catalog');
like($three->query('SELECT customer_groups.advance_segments()'), qr/^\d+$/, 'nor does an advance');
like($three->query('SELECT customer_groups.rebuild_facts()'), qr/^0$/, 'nor does a repair');
is(run('SELECT * FROM check_integrity()'), '', 'and all is right');

$_->quit for $session, $one, $two, $three;
done_testing();
