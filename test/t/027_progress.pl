# What changes many customers says how far it has come: before the query in pg_stat_activity, where others see it while it waits, and every
# ten seconds as a NOTICE. At its end, or after an error that the transaction survives, the query is shown as it is.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $node = Shop::server('main');
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off");
$node->start;
Shop::create($node, 'shop');
# Each statement that changes memberships writes down what others would see of it.
Shop::sql($node, 'shop', q{
	SET search_path = customer_groups;
	INSERT INTO groups (code, name, upgrade_threshold) VALUES ('club', 'Club', NULL), ('others', 'Others', NULL), ('silver', 'Silver', 1000);
	INSERT INTO customers (name) SELECT 'Customer ' || i FROM generate_series(1, 10001) AS i;
	INSERT INTO sales (customer_id, amount) VALUES (1, 10), (2, 10), (3, 10);
	INSERT INTO segments (code, name, tracked, rule) VALUES ('some', 'Some', true, 'net_sales > 1 AND days_since(last_visit) < 2');
	CREATE SCHEMA watch;
	CREATE TABLE watch.seen (id int GENERATED ALWAYS AS IDENTITY, query text);
	CREATE FUNCTION watch.shown() RETURNS text LANGUAGE sql VOLATILE AS
		'SELECT pg_stat_clear_snapshot(); SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()';
	CREATE FUNCTION watch.look() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO watch.seen (query) VALUES (watch.shown()); RETURN NULL; END';
	CREATE TRIGGER look AFTER INSERT OR DELETE ON members FOR EACH STATEMENT EXECUTE FUNCTION watch.look();
	CREATE TRIGGER look AFTER INSERT OR DELETE ON segment_members FOR EACH STATEMENT EXECUTE FUNCTION watch.look()});

my $session = Shop::Session->new($node, 'shop');
$session->query('SET search_path = customer_groups');

# A statement, and what was seen of it, each without what is the same in all: the query itself, as psql sends it.
sub seen
{
	my ($statement) = @_;
	$session->query('TRUNCATE watch.seen');
	$session->query($statement);
	my @seen = split /\n/, $session->query(q{SELECT replace(query, E'\n', ' ') FROM watch.seen GROUP BY query ORDER BY min(id)});
	s/ \Q$statement\E\s*;?\s*$// or $_ = "another query: $_" for @seen;
	return join "\n", @seen;
}

is(seen('CALL fill_segments(2)'), "/* fill_segments: 0 of 10001 customers */\n/* fill_segments: 2 of 10001 customers */", 'fill_segments');
my $all = 'ARRAY(SELECT id FROM customers)';
is(seen("SELECT add_members('club', $all)"),
	"/* add_members: 0 of 10001 customers */\n/* add_members: 10000 of 10001 customers */", 'add_members');
is(seen("SELECT move_members($all, 'club', 'others')"),
	"/* add_members: 0 of 10001 customers */\n/* add_members: 10000 of 10001 customers */\n"
	. "/* move_members: 0 of 10001 customers */\n/* move_members: 10000 of 10001 customers */", 'move_members');
is(seen("SELECT remove_members('others', $all)"),
	"/* remove_members: 0 of 10001 customers */\n/* remove_members: 10000 of 10001 customers */", 'remove_members');
Shop::sql($node, 'shop', q{UPDATE customer_groups.groups SET upgrade_threshold = 1 WHERE code = 'silver'});
is(seen(q{SELECT count(*) FROM review_tiers('default')}), '/* review_tiers: 0 of 3 customers */', 'review_tiers');
# Customers who are judged by wrong facts, and by right ones again when these are repaired.
Shop::sql($node, 'shop', q{
	ALTER TABLE customer_groups.customer_facts DISABLE TRIGGER USER;
	UPDATE customer_groups.customer_facts SET net_sales = 0 WHERE customer_id IN (1, 2);
	ALTER TABLE customer_groups.customer_facts ENABLE TRIGGER USER;
	SELECT customer_groups.track_customers('{1,2}')});
is(seen('SELECT rebuild_facts()'), '/* rebuild_facts: 0 of 10001 customers */', 'rebuild_facts');
is(seen(q{SELECT advance_segments(now() + interval '2 days')}), '/* advance_segments */', 'advance_segments');

# psql sends what \; joins as one query, which is shown as long as one of its statements runs.
my $both = q{SELECT count(*) FROM customer_groups.review_tiers('default', true) \; SELECT add_members('club', '{1}') \; SELECT watch.shown()};
like($session->query($both), qr/^SELECT count.*watch\.shown\(\)/ms, 'at the end the query is as it was');
$session->query(q{SELECT report_progress('never ended', 1, 2)});
is(seen(q{SELECT add_members('others', '{1}')}), '/* add_members: 0 of 1 customers */', 'what an earlier statement has not ended is no longer shown');
$session->query('BEGIN');
my $failing = q{DO $$ BEGIN
	CREATE FUNCTION watch.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused: %'', watch.shown(); END';
	CREATE TRIGGER refuse AFTER INSERT ON members FOR EACH STATEMENT EXECUTE FUNCTION watch.refuse();
	BEGIN
		PERFORM add_members('others', '{1,2}');
	EXCEPTION WHEN raise_exception THEN
		RAISE NOTICE 'failed: %', split_part(SQLERRM, ' DO', 1);
		RAISE NOTICE 'then: %', split_part(watch.shown(), ' BEGIN', 1);
	END;
END $$};
like($session->query($failing), qr/failed: refused: \/\* add_members: 0 of 2 customers \*\/\n.*then: DO \$\$\z/s, 'and after an error that was caught');
$session->query('ROLLBACK');

# Somebody else watches one that waits.
my $holder = Shop::Session->new($node, 'shop');
$holder->query('BEGIN; SELECT FROM customer_groups.customer_facts WHERE customer_id = 5 FOR UPDATE');
my $waiter = Shop::Session->new($node, 'shop');
$waiter->send(q{SELECT customer_groups.add_members('club', '{5,6}')});
ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '/* add\_members: 0 of 2 customers */ SELECT customer\_groups.add\_members(''club''%' AND state = 'active' AND wait_event_type = 'Lock'}),
	'others see it');
$holder->query('ROLLBACK');
$waiter->query('SELECT 1');

# A query that is longer than what is shown of it; and none is shown at all.
my $long = q{SELECT add_members('club', '{7}'), } . join ', ', map { "'$_'" } 1 .. 1000;
like(seen($long), qr/^another query: \/\* add_members: 0 of 1 customers \*\/ SELECT add_members\('club'/, 'a long query is cut off, not the progress');
$node->append_conf('postgresql.conf', 'track_activities = off');
$node->reload;
$node->poll_query_until('shop', q{SELECT NOT current_setting('track_activities')::boolean});
$session->query('SELECT pg_sleep(0.1)') until $session->query('SHOW track_activities') eq 'off';
unlike(seen(q{SELECT add_members('club', '{8}')}), qr/of 1 customers/, 'nothing is shown without track_activities');
is($session->query(q{SELECT count(*) FROM members WHERE customer_id = 8}), '1', 'and it is done');

# Who waits for it hears of it.
like($session->query(q{DO $$ BEGIN
		PERFORM report_progress('this', 0, 3), report_progress('this', 1, 3);
		PERFORM pg_sleep(10.01);
		PERFORM report_progress('this', 2, 3), report_progress('this', 3, 3);
	END $$}), qr/\A[^\n]*NOTICE:  this: 2 of 3 customers\z/, 'a NOTICE after ten seconds');

$_->quit for ($session, $holder, $waiter);
Shop::sound($node, 'shop', 'all is right');
$node->stop;
done_testing();
