# What takes long is cancelled (57014) by pg_cancel_backend and by statement_timeout, and leaves nothing half done: check_integrity()
# finds nothing, and the same call made afterwards, left to its end, does all of it.
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
Shop::sql($node, 'shop', q{
	SET search_path = customer_groups;
	INSERT INTO items (name, price) SELECT 'Item ' || i, 10 FROM generate_series(1, 20) AS i;
	INSERT INTO ladders (code, name, measure, downgrade) VALUES ('visits', 'Visits', 'visits', 'at_review');
	INSERT INTO groups (id, code, name, ladder, upgrade_threshold) VALUES (1, 'club', 'Club', NULL, NULL), (2, 'often', 'Often', 'visits', 1000), (3, 'top', 'Top', 'visits', 2000);
	INSERT INTO promotions (name, kind, value) SELECT 'P' || i, 'percent', i FROM generate_series(1, 50) AS i;
	INSERT INTO customers (name, birth_date) SELECT 'Customer ' || i, date '1970-01-01' + i % 10000 FROM generate_series(1, 3000) AS i;
	INSERT INTO sales (customer_id, amount, sold_at) SELECT id, 10, now() - interval '10 days' FROM customers;
	INSERT INTO segments (code, name, tracked, rule) VALUES ('seen', 'Seen', true, 'visits >= 1 AND days_since(last_visit) < 11'), ('born', 'Born', true, 'birthday TODAY OR net_sales IN LAST 10 DAYS > 1');
	CALL fill_segments();
	SELECT advance_segments();
	UPDATE groups SET upgrade_threshold = 1 WHERE id = 2;
	ANALYZE});

my $session = Shop::Session->new($node, 'shop');
$session->query('SET application_name = long');
$session->query('\set VERBOSITY sqlstate');
my $other = Shop::Session->new($node, 'shop');
my $waiting = 'pg_stat_activity WHERE application_name = \'long\' AND state = \'active\'';

# What a statement gives that another session cancels as soon as it runs.
sub cancelled
{
	my ($call) = @_;
	$other->send("DO \$\$ BEGIN WHILE NOT EXISTS (SELECT FROM $waiting) AND clock_timestamp() < now() + interval '30 seconds' LOOP PERFORM pg_stat_clear_snapshot(), pg_sleep(0.001); END LOOP;
		PERFORM pg_sleep(0.005), pg_cancel_backend(pid) FROM $waiting; END \$\$");
	my $result = $session->query($call);
	$other->query('SELECT 1');
	return $result;
}

sub timed_out
{
	my ($call) = @_;
	$session->query("SET statement_timeout = '20ms'");
	my $result = $session->query($call);
	$session->query('RESET statement_timeout');
	return $result;
}

my $cart = q{(SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('item', 1 + i % 20, 'quantity', 1)) FROM pg_catalog.generate_series(1, 10000) AS i)};
$node->safe_psql('shop', 'COPY (SELECT 1 + i % 3000, 5 FROM generate_series(1, 10000) AS i) TO ' . "'" . $node->basedir . "/sales.csv'");
my $copy = "\\copy customer_groups.sales (customer_id, amount) FROM '" . $node->basedir . "/sales.csv'";

# What takes long, and what tells whether it has been done: before and after it was left to its end. Without the latter it only reads.
my @cases = (
	[ 'review_tiers', q{SELECT count(*) FROM customer_groups.review_tiers('visits')}, q{SELECT count(*) FROM customer_groups.members WHERE group_id = 2}, '0', '3000' ],
	[ 'a dry run', q{SELECT count(*) FROM generate_series(1, 1000) AS i, LATERAL customer_groups.review_tiers('visits', true, now() + i * interval '1 day')} ],
	[ 'advance_segments', q{SELECT customer_groups.advance_segments(now() + interval '1 day')}, q{SELECT count(*) FROM customer_groups.segment_members WHERE segment_id = 1}, '3000', '0' ],
	[ 'add_members', q{SELECT customer_groups.add_members('club', ARRAY(SELECT id FROM customer_groups.customers))}, q{SELECT count(*) FROM customer_groups.members WHERE group_id = 1}, '0', '3000' ],
	[ 'remove_members', q{SELECT customer_groups.remove_members('club', ARRAY(SELECT id FROM customer_groups.customers))}, q{SELECT count(*) FROM customer_groups.members WHERE group_id = 1}, '3000', '0' ],
	[ 'COPY of sales', $copy, q{SELECT count(*) FROM customer_groups.sales WHERE amount = 5}, '0', '10000' ],
	[ 'an UPDATE of sales', q{UPDATE customer_groups.sales SET amount = 6 WHERE amount = 5}, q{SELECT count(*) FROM customer_groups.sales WHERE amount = 6}, '0', '10000' ],
	[ 'record_sale', qq{SELECT total FROM customer_groups.record_sale(1, $cart, external_id => 'long')}, q{SELECT count(*) FROM customer_groups.sale_lines}, '0', '10000' ],
	[ 'record_refund', q{SELECT total FROM customer_groups.record_refund(1, (SELECT id FROM customer_groups.sales WHERE external_id = 'long'), external_id => 'back')}, q{SELECT count(*) FROM customer_groups.sale_lines}, '10000', '20000' ],
	[ 'rebuild_facts', q{SELECT customer_groups.rebuild_facts()} ],
	[ 'price_cart', qq{SELECT count(*) FROM generate_series(1, 1000) AS i, LATERAL customer_groups.price_cart(i, $cart)} ],
	[ 'effective_discounts', q{SELECT count(*) FROM customer_groups.customers AS c, LATERAL customer_groups.effective_discounts(c.id, ARRAY(SELECT 1 + i % 20 FROM generate_series(1, 1000) AS i)) } ],
	[ 'labels_of', q{SELECT count(*) FROM generate_series(1, 1000) AS i, LATERAL customer_groups.labels_of(ARRAY(SELECT id + 0 * i FROM customer_groups.customers))} ],
	[ 'rule_customers', q{SELECT count(*) FROM generate_series(1, 1000) AS i, LATERAL customer_groups.rule_customers('bought BRAND ''none'' >= 1 OR NOT (net_sales IN LAST 30 DAYS > 1)'::customer_groups.segment_rule, now() + i * interval '1 day')} ],
	[ 'segment_sizes', q{SELECT count(*) FROM generate_series(1, 1000) AS i, LATERAL customer_groups.segment_sizes(now() + i * interval '1 day')} ],
	[ 'search_customers', q{SELECT count(*) FROM generate_series(1, 1000) AS i, LATERAL customer_groups.search_customers('customer ' || i % 10)} ],
	[ 'check_integrity', q{SELECT count(*) FROM customer_groups.check_integrity()} ],
	[ 'purge_events', q{SELECT customer_groups.purge_events(now())} ]);

for my $case (@cases)
{
	my ($name, $call, $state, $before, $after) = @$case;
	is(Shop::sql($node, 'shop', $state), $before, "$name: not yet done") if $state;
	like(timed_out($call), qr/ERROR:  57014/, "$name ends by statement_timeout");
	like(cancelled($call), qr/ERROR:  57014/, "$name ends by pg_cancel_backend");
	next if !$state;
	is(Shop::sql($node, 'shop', $state), $before, "$name: nothing is done");
	Shop::sound($node, 'shop', "$name: nothing is left half done");
	unlike($session->query($call), qr/ERROR/, "$name is done when it is left to its end");
	is(Shop::sql($node, 'shop', $state), $after, 'all of it');
}

# fill_segments() commits its batches: what it has done stays, and the segment pending until all is done.
Shop::sql($node, 'shop', q{UPDATE customer_groups.segments SET rule = 'visits >= 2' WHERE code = 'seen'});
my $pending = q{SELECT pending_since IS NOT NULL FROM customer_groups.segments WHERE code = 'seen'};
# It cannot come to its end meanwhile: somebody holds the last customer.
my $holder = Shop::Session->new($node, 'shop');
$holder->query('BEGIN; SELECT FROM customer_groups.customer_facts WHERE customer_id = 3000 FOR UPDATE');
for my $end (\&timed_out, \&cancelled)
{
	like($end->('CALL customer_groups.fill_segments(100)'), qr/ERROR:  57014/, 'fill_segments ends when asked to');
	is(Shop::sql($node, 'shop', $pending), 't', 'the segment is still pending');
	Shop::sound($node, 'shop', 'and nothing else is wrong');
}
$holder->query('ROLLBACK');
is($session->query('CALL customer_groups.fill_segments(2147483647)'), '', 'in one batch, to the end');
is(Shop::sql($node, 'shop', $pending), 'f', 'it is filled');
is(Shop::sql($node, 'shop', q{SELECT count(*) FROM customer_groups.segment_members WHERE segment_id = 1}), '3000', 'with all of them');
Shop::sound($node, 'shop', 'and all is right');
for my $bad ([ '0', '22023' ], [ '-1', '22023' ], [ '-2147483648', '22023' ], [ 'NULL', '22004' ])
{
	like($session->query("CALL customer_groups.fill_segments($bad->[0])"), qr/ERROR:  $bad->[1]/, "a batch of $bad->[0]");
}

$_->quit for ($session, $other, $holder);
$node->stop;
done_testing();
